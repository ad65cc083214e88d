// [data-theme-switch]: change the theme at once, and keep it in the profile, or before sign-in in this browser.
document.addEventListener("submit", (event) => {
  const form = event.target.closest("[data-theme-switch]");
  if (!form) return;
  event.preventDefault();
  const page = document.documentElement;
  const dark = page.dataset.theme === "dark"
    || (page.dataset.theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  const theme = dark ? "light" : "dark";
  page.dataset.theme = theme;
  try {
    if ("hereOnly" in form.dataset) localStorage.setItem("theme", theme);
    else localStorage.removeItem("theme");
  } catch {
    // storage is closed: the change lasts as long as the page
  }
  form.querySelector("button").value = dark ? "dark" : "light";
  if ("hereOnly" in form.dataset) return;
  const answers = new FormData(form);
  answers.set("theme", theme);
  fetch(form.action, { method: "POST", body: answers, headers: { "HX-Request": "true" } });
});
