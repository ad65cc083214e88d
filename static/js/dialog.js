// [data-opens="id"] opens the <dialog> of that id; a click on what lies behind a dialog closes it.
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  if (opener) {
    const menu = opener.closest("details.menu");
    if (menu) menu.open = false;
    document.getElementById(opener.dataset.opens)?.showModal();
    return;
  }
  if (event.target.matches("dialog.dialog")) {
    const box = event.target.getBoundingClientRect();
    const inside = event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom;
    if (!inside) event.target.close("");
  }
});
