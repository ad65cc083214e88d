// form[data-once]: a second press before the answer does nothing.
function rest(form, resting) {
  for (const button of form.querySelectorAll("button:not([type=button]), input[type=submit]")) {
    if (resting && !button.disabled) {
      button.disabled = true;
      button.dataset.resting = "";
    } else if (!resting && "resting" in button.dataset) {
      button.disabled = false;
      delete button.dataset.resting;
    }
    if (!resting) button.removeAttribute("aria-busy");
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-once]");
  if (!form) return;
  if (form.dataset.sent) {
    event.preventDefault();
    event.stopImmediatePropagation();
    return;
  }
  form.dataset.sent = "yes";
  event.submitter?.setAttribute("aria-busy", "true");
  setTimeout(() => { // the pressed button's own value is read first
    if (event.defaultPrevented && !form.closest("[hx-post], [data-hx-post]")) done(form);
    else rest(form, true);
  });
}, true);

function done(form) {
  delete form.dataset.sent;
  rest(form, false);
}

document.addEventListener("htmx:afterRequest", (event) => {
  const form = event.target.closest?.("form[data-once]");
  if (form) done(form);
});
addEventListener("pageshow", (event) => { // Back brings the page as it was left
  if (event.persisted) document.querySelectorAll("form[data-once][data-sent]").forEach(done);
});
