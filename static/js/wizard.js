// form[data-wizard]: what is typed is mirrored into the address, so that a refresh and the Back button lose nothing.
//   [data-fill="name"]     a button whose value goes into that field
//   [data-when="ssh"], [data-when="identity=user"]   shown while that box is ticked, or has that value
const form = document.querySelector("form[data-wizard]");

// A private key pasted by mistake stays in its field: not in the address, not in a request.
function guard() {
  const field = form.elements.public_key;
  if (!field || field.type === "hidden") return false;
  const secret = /PRIVATE KEY/.test(field.value);
  const said = document.getElementById("said-public_key");
  if (secret) {
    const item = Object.assign(document.createElement("li"), { textContent: form.dataset.secretSaid });
    const list = Object.assign(document.createElement("ul"), { className: "errors" });
    list.append(item);
    said.replaceChildren(list);
  }
  return secret;
}

function mirror() {
  const answers = new URLSearchParams(new FormData(form));
  history.replaceState(history.state, "", `${location.pathname}?${answers}`);
}

function unfold() {
  for (const part of document.querySelectorAll("[data-when]")) {
    const [name, value] = part.dataset.when.split("=");
    const field = form.elements[name];
    part.hidden = value === undefined ? !field.checked : field.value !== value;
  }
}

function typed(event) {
  unfold();
  if (guard()) {
    event?.stopImmediatePropagation();
    return;
  }
  mirror();
}

if (form) {
  form.addEventListener("input", typed, true);
  form.addEventListener("change", typed, true);
  form.addEventListener("submit", (event) => { if (guard()) event.preventDefault(); });
  form.addEventListener("click", (event) => {
    const button = event.target.closest("[data-fill]");
    if (!button) return;
    event.preventDefault();
    const field = form.elements[button.dataset.fill];
    field.value = button.value;
    field.focus();
    field.dispatchEvent(new Event("input", { bubbles: true }));
  });
  document.addEventListener("htmx:afterSettle", unfold);
  unfold();
}
