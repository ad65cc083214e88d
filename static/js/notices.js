// Notices and toasts: dismiss them, show what failed without an answer made for people, let a success fade.
const SHOWN_FOR = 6000; // ms; errors stay until dismissed

export function toast(text, tone = "") {
  const form = document.getElementById("toast");
  if (!form) return;
  const already = [...document.querySelectorAll("[data-toast] > span")].some((said) => said.textContent === text);
  if (already) return;
  const shown = form.content.firstElementChild.cloneNode(true);
  if (tone) shown.classList.add(tone);
  shown.querySelector("span").textContent = text;
  document.getElementById("toasts").append(shown);
  fade(shown);
}

function fade(shown) {
  if (shown.matches(".error, .warning")) return;
  let timer = setTimeout(() => shown.remove(), SHOWN_FOR);
  shown.addEventListener("pointerenter", () => clearTimeout(timer));
  shown.addEventListener("pointerleave", () => { timer = setTimeout(() => shown.remove(), SHOWN_FOR); });
}

document.querySelectorAll("[data-toast]").forEach(fade);

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-dismiss]");
  if (button) button.closest("[data-toast], [data-notice]")?.remove();
});

// A page's answer of an error that was not made for this place would tear the page: say it in a toast instead.
document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr } = event.detail;
  if (xhr.status < 400 || xhr.status === 422 || xhr.getResponseHeader("HX-Retarget")) return;
  event.detail.shouldSwap = false;
  toast(document.body.dataset.failedSaid, "error");
});
document.addEventListener("htmx:sendError", () => toast(document.body.dataset.silentSaid, "warning"));

// A notice is read at once, also by those who do not see it appear.
document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target?.id !== "notices") return;
  const notice = event.detail.target.querySelector("[data-notice]");
  notice?.scrollIntoView({ block: "nearest" });
  notice?.focus({ preventScroll: true });
});
// What succeeded after a notice makes the notice old.
document.addEventListener("htmx:afterRequest", (event) => {
  const { requestConfig, successful } = event.detail;
  if (successful && requestConfig && requestConfig.verb !== "get") document.getElementById("notices")?.replaceChildren();
});
