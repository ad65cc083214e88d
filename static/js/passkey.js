// form[data-passkey]: makes ("create") or uses ("get") a passkey, and sends what the browser says of it. What is asked
// for stands in the page (#passkey-options), or is fetched from data-options when the button is pressed.
const kinds = {
  create: {
    prepare(options) {
      const choice = { ...options.authenticatorSelection, residentKey: "preferred", userVerification: "preferred" };
      return PublicKeyCredential.parseCreationOptionsFromJSON({ ...options, authenticatorSelection: choice });
    },
    ask: (publicKey) => navigator.credentials.create({ publicKey }),
  },
  get: {
    prepare: (options) => PublicKeyCredential.parseRequestOptionsFromJSON(options),
    ask: (publicKey) => navigator.credentials.get({ publicKey }),
  },
};

async function optionsOf(form) {
  if (!form.dataset.options) {
    const said = JSON.parse(document.getElementById("passkey-options").textContent);
    return said.creation_options ?? said.request_options;
  }
  const answer = await fetch(form.dataset.options, { headers: { "X-Requested-With": "XMLHttpRequest" } });
  if (!answer.ok) throw new Error(`The studio answers ${answer.status}.`);
  return (await answer.json()).request_options;
}

async function use(form) {
  const note = form.querySelector("[data-said]");
  const button = form.querySelector("button[type=submit]");
  note.textContent = "";
  button.disabled = true;
  try {
    const kind = kinds[form.dataset.passkey];
    const options = await optionsOf(form);
    const credential = await kind.ask(kind.prepare(options.publicKey));
    form.elements.credential.value = JSON.stringify(credential.toJSON());
    form.submit();
  } catch (error) { // the person said no, or the device has none
    console.info("No passkey:", error.name, error.message);
    note.textContent = note.dataset.said;
    button.disabled = false;
  }
}

if (window.PublicKeyCredential?.parseRequestOptionsFromJSON && !/^[\d.]+$|^\[/.test(location.hostname)) {
  for (const form of document.querySelectorAll("form[data-passkey]")) {
    form.hidden = false;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      use(form);
    });
  }
}
