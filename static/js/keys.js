// Keys of every page: / search, g then a letter to go (data-go in templates/_nav.html), j k rows, Enter opens, x selects, ? lists them all.
let going = 0; // when g was pressed

const typing = (element) => element?.closest?.("input:not([type=checkbox], [type=radio], [type=button], [type=submit]), textarea, select, [contenteditable]");

function rows() {
  const area = [...document.querySelectorAll("[data-rows]")].find((one) => one.checkVisibility?.() ?? true);
  if (!area) return [];
  return [...area.querySelectorAll("tbody tr, [data-row]")].filter((row) => !row.hidden && opener(row));
}
const opener = (row) => row.querySelector("a.name[href], a[data-open], th a[href], td a[href]") ?? row.querySelector("a[href]");

function step(by) {
  const all = rows();
  if (!all.length) return;
  const at = all.findIndex((row) => row.contains(document.activeElement));
  const to = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + by, 0), all.length - 1)];
  opener(to).focus();
  to.scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (typing(event.target) || document.querySelector("dialog[open]")) return;
  const { key } = event;
  if (going && Date.now() - going < 1500) {
    going = 0;
    const link = document.querySelector(`[data-go="${CSS.escape(key)}"]`);
    if (link) {
      event.preventDefault();
      location.assign(link.href);
    }
    return;
  }
  going = 0;
  if (key === "g") going = Date.now();
  else if (key === "/") document.querySelector("[data-search] input")?.select();
  else if (key === "?") document.getElementById("keys")?.showModal();
  else if (key === "j") step(1);
  else if (key === "k") step(-1);
  else if (key === "x") rows().find((row) => row.contains(document.activeElement))?.querySelector("[data-select]")?.click();
  else return;
  event.preventDefault();
});
