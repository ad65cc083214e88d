// <details class="menu">: closes on Escape, on a click elsewhere and when another opens; arrow keys move in it.
const open = () => document.querySelectorAll("details.menu[open]");
const items = (menu) => [...menu.querySelectorAll(".panel a[href], .panel button:not([disabled]), .panel input:not([type=hidden])")];

document.addEventListener("click", (event) => {
  for (const menu of open()) if (!menu.contains(event.target)) menu.open = false;
});

document.addEventListener("focusin", (event) => {
  for (const menu of open()) if (!menu.contains(event.target)) menu.open = false;
});

document.addEventListener("keydown", (event) => {
  const menu = event.target.closest?.("details.menu") ?? open()[0];
  if (!menu) return;
  if (event.key === "Escape" && menu.open) {
    menu.open = false;
    menu.querySelector("summary").focus();
    event.stopPropagation();
    return;
  }
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  if (!menu.contains(event.target) || event.target.matches("input:not([type=checkbox], [type=radio])")) return;
  event.preventDefault();
  menu.open = true;
  const all = items(menu);
  if (!all.length) return;
  const step = event.key === "ArrowDown" ? 1 : -1;
  const at = all.indexOf(document.activeElement);
  all[at < 0 ? (step > 0 ? 0 : all.length - 1) : (at + step + all.length) % all.length].focus();
});
