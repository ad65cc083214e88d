// [data-tags]: rows of key and value; [data-add] adds one from the <template>, [data-remove] takes one away.
document.addEventListener("click", (event) => {
  const area = event.target.closest?.("[data-tags]");
  if (!area) return;
  if (event.target.closest("[data-add]")) {
    const row = area.querySelector("template").content.firstElementChild.cloneNode(true);
    (area.querySelector("[data-tag-rows]") ?? area).append(row);
    row.querySelector("input").focus();
    area.dispatchEvent(new Event("change", { bubbles: true }));
  }
  const remove = event.target.closest("[data-remove]");
  if (remove) {
    const row = remove.closest("[data-tag-row]");
    const next = row.nextElementSibling?.querySelector("input") ?? area.querySelector("[data-add]");
    row.remove();
    next?.focus();
    area.dispatchEvent(new Event("change", { bubbles: true }));
  }
});
