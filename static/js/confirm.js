// data-confirm="Delete cpu-cluster?" on a form or its button asks first, in one dialog for the whole page.
//   data-confirm-detail   a sentence on what follows
//   data-confirm-yes      the words of the button that does it
//   data-confirm-name     the name that has to be typed; it is sent along as "confirm"
//   data-confirm-calm     not a deletion: the button is not red
// Where the form holds checked [data-select] boxes, their data-name are listed.
const dialog = document.getElementById("confirm");
const agreed = new WeakSet();

function names(form) {
  return [...(form?.querySelectorAll("[data-select]:checked") ?? [])].map((box) => box.dataset.name ?? box.value);
}

function ask(said, form) {
  const yes = dialog.querySelector("[data-yes]");
  const field = dialog.querySelector("[data-name-field]");
  const input = field.querySelector("input");
  const list = dialog.querySelector("[data-names]");
  dialog.querySelector("h2").textContent = said.confirm;
  dialog.querySelector("[data-detail]").textContent = said.confirmDetail ?? "";
  list.replaceChildren(...names(form).map((name) => Object.assign(document.createElement("li"), { textContent: name })));
  list.hidden = !list.children.length;
  yes.textContent = said.confirmYes ?? yes.dataset.words ?? yes.textContent;
  yes.classList.toggle("danger", !("confirmCalm" in said));
  field.hidden = !said.confirmName;
  input.value = "";
  field.querySelector("label").textContent = dialog.dataset.typeSaid.replace("{name}", said.confirmName ?? "");
  const check = () => { yes.disabled = Boolean(said.confirmName) && input.value.trim() !== said.confirmName; };
  input.oninput = check;
  check();
  dialog.returnValue = "";
  dialog.showModal();
  (said.confirmName ? input : dialog.querySelector("footer .btn")).focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes" ? { name: input.value.trim() } : null), { once: true });
  });
}

if (dialog) {
  const yes = dialog.querySelector("[data-yes]");
  yes.dataset.words = yes.textContent;
  // Enter in the name's field means yes, once the name is right; it never means "Keep it" by accident.
  dialog.querySelector("form").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !event.target.matches("input")) return;
    event.preventDefault();
    if (!yes.disabled) yes.click();
  });

  document.addEventListener("submit", async (event) => {
    const form = event.target;
    const said = event.submitter?.dataset.confirm ? event.submitter.dataset : form.dataset;
    if (!said.confirm || agreed.delete(form)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const answer = await ask(said, form);
    if (!answer) return;
    if (said.confirmName) {
      const typed = form.elements.confirm ?? form.appendChild(Object.assign(document.createElement("input"), { type: "hidden", name: "confirm" }));
      typed.value = answer.name;
    }
    agreed.add(form);
    if (!form.isConnected) { // a live part of the page came anew meanwhile: what was agreed to is sent all the same
      form.hidden = true;
      document.body.append(form);
    }
    form.requestSubmit(event.submitter);
  }, true);

  // A button with hx-post of its own, outside a form.
  document.addEventListener("htmx:confirm", async (event) => {
    const element = event.target.closest("[data-confirm]");
    if (!element || element.closest("form")) return;
    event.preventDefault();
    if (await ask(element.dataset, null)) event.detail.issueRequest(true);
  });
}
