// The search box: arrow keys go through what it found, Escape closes it, Enter goes to the page of results.
const form = document.querySelector("[data-search]");

if (form) {
  const input = form.querySelector("input");
  const found = form.querySelector(".results");
  const links = () => [...found.querySelectorAll("a[href]")];
  const close = () => found.replaceChildren();

  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      if (found.children.length) close();
      else input.blur();
      input.focus();
      if (!found.children.length && document.activeElement === input && !input.value) input.blur();
      return;
    }
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const all = [input, ...links()];
    event.preventDefault();
    const at = all.indexOf(document.activeElement);
    all[(at + (event.key === "ArrowDown" ? 1 : -1) + all.length) % all.length].focus();
  });
  input.addEventListener("input", () => { if (!input.value.trim()) close(); });
  // An answer that comes after the box was emptied is too late.
  form.addEventListener("htmx:beforeSwap", (event) => { if (!input.value.trim()) event.detail.shouldSwap = false; });
  form.addEventListener("submit", (event) => { if (!input.value.trim()) event.preventDefault(); });
  document.addEventListener("click", (event) => { if (!form.contains(event.target)) close(); });
  document.addEventListener("focusin", (event) => { if (!form.contains(event.target)) close(); });
}
