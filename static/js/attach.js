// The form that attaches shows what belongs to each choice, and a private key may come from a file, which is read here
// and put into its field.
import { showWith } from "./with.js";

const form = document.querySelector("[data-attach]");
const show = () => showWith(form);

form.addEventListener("change", (event) => {
  show();
  // Another jump host than the one that is described: what was typed of that one is meant no more.
  if (event.target.name === "jump_host" && event.target.value !== "*") form.elements.jump_address.value = "";
});
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
