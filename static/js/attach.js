// The form that attaches: [data-with="field" data-with-value="x"] is shown while that field has that value, and a
// private key may come from a file, which is read here and put into its field.
const form = document.querySelector("[data-attach]");

function show() {
  for (const part of form.querySelectorAll("[data-with]")) {
    const chosen = form.elements[part.dataset.with];
    if (chosen) part.hidden = chosen.value !== part.dataset.withValue;
  }
}

form.addEventListener("change", show);
addEventListener("pageshow", show);
show();

for (const area of form.querySelectorAll("textarea[data-file-said]")) {
  const chooser = Object.assign(document.createElement("input"), { type: "file", hidden: true });
  const button = Object.assign(document.createElement("button"), { type: "button", className: "btn small", textContent: area.dataset.fileSaid });
  button.addEventListener("click", () => chooser.click());
  chooser.addEventListener("change", async () => {
    const file = chooser.files[0];
    if (file && file.size < 100_000) area.value = await file.text();
    chooser.value = ""; // its name is nobody's business, and the same file may be chosen again
  });
  area.after(button, chooser);
}
