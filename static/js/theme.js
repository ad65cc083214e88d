// Set the theme before the first paint. The profile decides; before sign-in, what this browser was told last.
(() => {
  const page = document.documentElement;
  if (page.dataset.theme !== "system") return;
  try {
    const kept = localStorage.getItem("theme");
    if (kept === "light" || kept === "dark") page.dataset.theme = kept;
  } catch {
    // storage is closed: the system's preference holds
  }
})();
