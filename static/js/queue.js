// A table whose rows keep still, [data-still]: while the pointer is over it, or the keyboard in it, what comes by itself
// waits; [data-still-note] says so. What one moves oneself is shown at once, with the focus where it was.
const waits = new Set(); // tables that came meanwhile

const isUsed = (table) => table.matches(":hover") || table.contains(document.activeElement);

function renew(table) {
  if (!waits.delete(table) || !table.isConnected) return;
  window.htmx.ajax("GET", table.getAttribute("hx-get"), { source: table, target: table, swap: "outerHTML" });
}

document.addEventListener("htmx:beforeSwap", (event) => {
  const { target, elt, requestConfig } = event.detail;
  if (!target?.matches?.("[data-still]") || target !== elt || requestConfig?.verb !== "get" || !isUsed(target)) return;
  event.detail.shouldSwap = false;
  waits.add(target);
  const note = target.querySelector("[data-still-note]");
  if (note) note.hidden = false;
});

for (const name of ["pointerover", "focusin"]) {
  document.addEventListener(name, () => {
    for (const table of [...waits]) if (!isUsed(table)) renew(table);
  });
}

// A button that cannot go on, at the end of its way, gives the focus to its neighbour. That shows once the swap has
// settled; the focus is back before, so that the table counts as used meanwhile.
for (const name of ["htmx:afterSwap", "htmx:afterSettle"]) {
  document.addEventListener(name, (event) => {
    const id = event.detail.requestConfig?.triggeringEvent?.submitter?.id;
    const button = id && document.getElementById(id);
    if (!button) return;
    (button.disabled ? button.parentElement.querySelector("button:not(:disabled)") : button)?.focus();
  });
}
