// Tabs that do not fit are scrolled, and the page that is shown is among those that are seen.
const show = () => {
  for (const tab of document.querySelectorAll(".tabs [aria-current=page], .tabs [aria-selected=true]")) {
    const row = tab.parentElement;
    const hidden = tab.offsetLeft - row.offsetLeft + tab.offsetWidth - row.clientWidth;
    if (hidden > row.scrollLeft) row.scrollLeft = hidden;
  }
};

addEventListener("pageshow", show);
document.addEventListener("htmx:afterSettle", show);
