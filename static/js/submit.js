// form[data-submit]: shows what belongs to each choice, and sends the form with its files so that they stay chosen
// when something has to be mended; errors appear by their fields.
import { go } from "./go.js";
import { remember } from "./live.js";
import { Refused, Unreadable, canHash, sendFiles } from "./send.js";
import { chosenFiles, offer, size } from "./upload.js";
import { showWith } from "./with.js";

// Offers the environments that the target takes. What it does not take is chosen no more.
function offerEnvironments(form) {
  const taken = form.querySelector("[name=target]:checked")?.dataset.environments.split(" ");
  if (!taken) return;
  const plain = form.querySelector("[name=environment][value=interpreter]");
  for (const choice of form.querySelectorAll("[name=environment]")) {
    const isTaken = taken.includes(choice.value);
    choice.closest("label").hidden = !isTaken;
    if (!isTaken && choice.checked) plain.checked = true;
  }
  form.querySelector("[data-field=environment]").hidden = !taken.includes("interpreter");
}

function choose(form) {
  offerEnvironments(form);
  for (const name of ["source", "environment"]) {
    const now = form.querySelector(`[name=${name}]:checked`)?.value;
    for (const part of form.querySelectorAll(`[data-${name}]`)) {
      part.hidden = !part.dataset[name].split(" ").includes(now);
    }
    if (name !== "source") continue;
    const like = form.querySelector("template[data-like-files]");
    if (now === "same" && like) offer(form, [...like.content.querySelectorAll("option")].map((option) => option.value));
  }
  if (form.querySelector("[data-field=environment]").hidden) form.querySelector("[data-environment=interpreter]").hidden = true;
  const nodes = form.querySelector("[name=node_count]");
  const target = form.querySelector("[name=target]:checked");
  if (nodes && target) nodes.max = Math.max(1, Number(target.dataset.mostNodes));
  for (const part of form.querySelectorAll("[data-options]")) part.hidden = part.dataset.options !== target?.dataset.kind;
  showWith(form);
}

function problems(form, text, details = []) {
  const place = form.querySelector("[data-submit-problem]");
  place.replaceChildren();
  if (!text) return;
  const box = Object.assign(document.createElement("div"), { className: "callout bad" });
  const inner = box.appendChild(document.createElement("div"));
  inner.append(Object.assign(document.createElement("b"), { textContent: text }));
  for (const detail of details) inner.append(Object.assign(document.createElement("p"), { textContent: detail }));
  place.append(box);
}

function showErrors(form, errors) {
  for (const field of form.querySelectorAll("[data-field]")) {
    const said = errors[field.dataset.field] ?? [];
    (field.querySelector(".field") ?? field).classList.toggle("invalid", said.length > 0);
    field.querySelector("[data-errors]")?.replaceChildren(...said.map(({ message }) => Object.assign(document.createElement("li"), { textContent: message })));
    for (const input of field.querySelectorAll("input:not([type=radio], [type=file]), select, textarea")) {
      if (said.length) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    }
  }
  const placed = new Set([...form.querySelectorAll("[data-field]")].map((field) => field.dataset.field));
  const rest = Object.entries(errors).filter(([name]) => !placed.has(name)).flatMap(([, said]) => said.map(({ message }) => message));
  problems(form, Object.keys(errors).length ? form.dataset.wrongSaid : "", rest);
  const first = form.querySelector(".field.invalid");
  if (first) {
    for (let part = first; part !== form; part = part.parentElement) part.hidden = false;
    (first.querySelector("input:not([type=file], [disabled]), textarea") ?? first).focus();
    first.scrollIntoView({ block: "center" });
  } else if (rest.length) form.querySelector("[data-submit-problem]").scrollIntoView({ block: "center" });
}

function busy(form, on) {
  const button = form.querySelector("[data-submit-button]");
  button.disabled = on;
  button.toggleAttribute("aria-busy", on);
  if (on) button.setAttribute("aria-busy", "true");
  form.querySelector("[data-progress]").hidden = !on;
  form.querySelector("[data-abort]").hidden = !on;
}

// The bar and its words: how many bytes of how many, and of what.
function teller(form) {
  const bar = form.querySelector("[data-progress] progress");
  const words = form.querySelector("[data-progress-said]");
  return (phase, done, all) => {
    bar.value = all ? (100 * done) / all : 0;
    words.textContent = words.dataset[`${phase}Said`].replace("{done}", size(done)).replace("{all}", size(all));
  };
}

async function send(form) {
  const body = new FormData(form);
  const token = body.get("csrfmiddlewaretoken");
  const stopping = new AbortController();
  const told = teller(form);
  for (const name of ["files", "folder", "archive"]) body.delete(name);
  const { archive, files = [], facts = [], texts = [], problem } = body.get("source") === "upload" ? chosenFiles(form) : {};
  if (problem) return showErrors(form, { files: [{ message: problem }] });
  form.querySelector("[data-abort]").onclick = () => stopping.abort();
  problems(form, "");
  told("sending", 0, 0);
  busy(form, true);
  try {
    if (archive) body.append("archive", archive, archive.name);
    else if (files.length && canHash()) {
      body.append("upload", await sendFiles({ address: form.dataset.uploads, token, files, texts, told, signal: stopping.signal }));
    } else {
      for (const { file, path } of [...files, ...facts]) {
        body.append("files", file, file.name);
        body.append("paths", path);
      }
    }
  } catch (failure) {
    busy(form, false);
    if (stopping.signal.aborted) return;
    if (failure instanceof Refused && failure.errors) showErrors(form, failure.errors);
    else if (failure instanceof Unreadable) {
      showErrors(form, { files: [{ message: form.dataset.unreadableSaid.replace("{path}", failure.path) }] });
    } else problems(form, form.dataset.failedSaid);
    return;
  }
  post(form, body, token, told, stopping.signal);
}

// Send the form itself, with whatever files it carries.
function post(form, body, token, told, signal) {
  const request = new XMLHttpRequest(), catchUp = remember(); // the page that comes was made before it is here
  request.open("POST", form.action);
  request.setRequestHeader("Accept", "application/json");
  request.setRequestHeader("X-CSRFToken", token);
  request.responseType = "json";
  request.upload.onprogress = (event) => told(event.loaded < event.total ? "sending" : "storing", event.loaded, event.total);
  request.onload = () => {
    const answer = request.response;
    if (request.status === 201 && answer?.location) {
      globalThis.logAhead.open(answer.log, answer.stream);
      go(answer.location, answer.page, catchUp);
      return;
    }
    catchUp();
    busy(form, false);
    if (answer?.errors) showErrors(form, answer.errors);
    else problems(form, request.status === 400 || request.status === 413 ? form.dataset.tooManySaid : form.dataset.failedSaid);
  };
  request.onerror = () => {
    catchUp();
    busy(form, false);
    problems(form, form.dataset.failedSaid);
  };
  request.onabort = () => {
    catchUp();
    busy(form, false);
  };
  signal.addEventListener("abort", () => request.abort());
  request.send(body);
}

for (const form of document.querySelectorAll("form[data-submit]")) {
  delete form.dataset.once; // the request below is the one press
  form.removeAttribute("data-once");
  choose(form);
  form.addEventListener("change", () => choose(form));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!form.querySelector("[data-submit-button]").disabled) send(form);
  });
  addEventListener("pageshow", (event) => { if (event.persisted) busy(form, false); });
}
