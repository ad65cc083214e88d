// Selecting rows: inside [data-selectable], [data-select-all] and row boxes [data-select]; Shift takes a range.
// [data-bulkbar] appears with the first selected row; [data-count] in it says how many (data-one, data-many="{n} …").
// What was selected stays selected when its row is replaced.
const kept = new WeakMap(); // area → values
let last = null;

const boxes = (area) => [...area.querySelectorAll("[data-select]")];

function show(area) {
  const all = boxes(area);
  const on = all.filter((box) => box.checked);
  kept.set(area, new Set(on.map((box) => box.value)));
  for (const box of all) box.closest("tr")?.classList.toggle("selected", box.checked);
  const head = area.querySelector("[data-select-all]");
  if (head) {
    head.checked = on.length > 0 && on.length === all.length;
    head.indeterminate = on.length > 0 && on.length < all.length;
  }
  for (const bar of area.querySelectorAll("[data-bulkbar]")) {
    bar.toggleAttribute("data-any", on.length > 0);
    const count = bar.querySelector("[data-count]");
    if (count) count.textContent = (on.length === 1 ? count.dataset.one : count.dataset.many)?.replace("{n}", on.length) ?? on.length;
  }
}

document.addEventListener("click", (event) => {
  const box = event.target.closest?.("[data-select]");
  const area = box?.closest("[data-selectable]");
  if (!area) return;
  if (event.shiftKey && last && last !== box && area.contains(last)) {
    const all = boxes(area);
    const [from, to] = [all.indexOf(last), all.indexOf(box)].sort((a, b) => a - b);
    for (const between of all.slice(from, to + 1)) if (!between.disabled) between.checked = box.checked;
  }
  last = box;
});

document.addEventListener("change", (event) => {
  const area = event.target.closest?.("[data-selectable]");
  if (!area || !event.target.matches("[data-select], [data-select-all]")) return;
  if (event.target.matches("[data-select-all]")) {
    for (const box of boxes(area)) if (!box.disabled) box.checked = event.target.checked;
  }
  show(area);
});

document.addEventListener("click", (event) => {
  const area = event.target.closest?.("[data-select-none]")?.closest("[data-selectable]");
  if (!area) return;
  for (const box of boxes(area)) box.checked = false;
  show(area);
});

document.addEventListener("htmx:load", (event) => {
  for (const area of document.querySelectorAll("[data-selectable]")) {
    if (!area.contains(event.target) && !event.target.contains(area)) continue;
    const before = kept.get(area);
    if (before) for (const box of boxes(area)) box.checked = before.has(box.value);
    show(area);
  }
});
addEventListener("pageshow", () => document.querySelectorAll("[data-selectable]").forEach(show));
