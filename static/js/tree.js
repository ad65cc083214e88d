// [data-tree]: arrow keys move between the files and folders that can be seen, Left and Right close and open a folder,
// and the file that is looked at is marked.
const stops = (tree) => [...tree.querySelectorAll("summary, a[href]")].filter((stop) => stop.checkVisibility());

document.addEventListener("keydown", (event) => {
  const tree = event.target.closest?.("[data-tree]");
  if (!tree || event.ctrlKey || event.metaKey || event.altKey) return;
  const all = stops(tree);
  const at = all.indexOf(event.target);
  const folder = event.target.closest("summary")?.parentElement;
  let to = null;
  if (event.key === "ArrowDown") to = all[at + 1];
  else if (event.key === "ArrowUp") to = all[at - 1];
  else if (event.key === "Home") to = all[0];
  else if (event.key === "End") to = all.at(-1);
  else if (event.key === "ArrowRight" && folder && !folder.open) folder.open = true;
  else if (event.key === "ArrowRight" && folder) to = all[at + 1];
  else if (event.key === "ArrowLeft" && folder?.open) folder.open = false;
  else if (event.key === "ArrowLeft") to = (folder ?? event.target).closest("ul")?.parentElement.querySelector(":scope > details > summary");
  else return;
  event.preventDefault();
  to?.focus();
});

document.addEventListener("htmx:afterRequest", (event) => {
  const link = event.target.closest?.("[data-tree] a");
  if (!link || !event.detail.successful) return;
  for (const other of document.querySelectorAll("[data-tree] a[aria-current]")) other.removeAttribute("aria-current");
  link.setAttribute("aria-current", "true");
});
