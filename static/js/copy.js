// [data-copy="text"] or [data-copy-from="#id"] copies; also where the page is served without TLS.
async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = Object.assign(document.createElement("textarea"), { value: text, className: "visually-hidden", readOnly: true });
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy], [data-copy-from]");
  if (!button) return;
  event.preventDefault();
  const from = button.dataset.copyFrom && document.querySelector(button.dataset.copyFrom);
  await copy(from ? from.value ?? from.textContent : button.dataset.copy);
  button.focus();
  if (button.classList.contains("done")) return;
  const label = button.querySelector("span") ?? button;
  const words = label.textContent;
  button.classList.add("done");
  label.textContent = document.body.dataset.copiedSaid;
  setTimeout(() => {
    button.classList.remove("done");
    label.textContent = words;
  }, 1600);
});
