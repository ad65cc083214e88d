// [data-api]: each form below it sends what it says, with the page's session, and shows the answer beneath.
const MOST = 100_000; // characters shown of an answer

const api = document.querySelector("[data-api]");
const csrf = () => JSON.parse(document.body.getAttribute("hx-headers") || "{}");

function address(form) {
  const workspace = api.querySelector("[data-api-workspace]").value;
  let path = form.dataset.path.replace("{workspace}", encodeURIComponent(workspace));
  const query = new URLSearchParams(), headers = {};
  for (const input of form.querySelectorAll("[data-where]")) {
    const value = input.value;
    if (input.dataset.where === "path") {
      path = path.replace(`{${input.name}}`, value.split("/").map(encodeURIComponent).join("/"));
    } else if (value === "") continue;
    else if (input.dataset.where === "header") headers[input.name] = value;
    else query.append(input.name, value);
  }
  return { url: query.size ? `${path}?${query}` : path, headers };
}

function body(form) {
  const field = form.querySelector("[data-body]");
  if (!field) return {};
  if (field.type !== "file") return { body: field.value, headers: { "Content-Type": "application/json" } };
  const file = field.files[0];
  if (form.dataset.kind !== "multipart/form-data") return { body: file ?? "" };
  const data = new FormData();
  if (file) data.append("archive", file);
  return { body: data };
}

async function words(answer) {
  const kind = answer.headers.get("Content-Type") ?? "";
  if (/json/.test(kind)) return JSON.stringify(await answer.json(), null, 2);
  if (/^text\//.test(kind)) return answer.text();
  const size = (await answer.blob()).size;
  return size ? `${size.toLocaleString()} bytes, ${kind}` : "";
}

async function send(form) {
  const output = form.querySelector(".api-answer");
  output.hidden = false;
  output.setAttribute("aria-busy", "true");
  const { url, headers } = address(form), sent = body(form);
  try {
    const answer = await fetch(url, {
      method: form.dataset.method,
      body: sent.body,
      headers: { ...csrf(), ...sent.headers, ...headers },
    });
    const text = answer.status === 304 ? "" : await words(answer);
    show(output, `${form.dataset.method} ${url}`, `${answer.status} ${answer.statusText}`, answer.ok, text, answer.headers);
  } catch (problem) {
    show(output, `${form.dataset.method} ${url}`, String(problem), false, "", new Headers());
  }
  output.removeAttribute("aria-busy");
}

function show(output, asked, status, ok, text, headers) {
  const line = document.createElement("p");
  line.className = "row";
  const said = document.createElement("b");
  said.className = ok ? "ok" : "bad";
  said.textContent = status;
  const what = document.createElement("code");
  what.className = "wrap";
  what.textContent = asked;
  line.append(said, what);
  const facts = document.createElement("p");
  facts.className = "muted wrap";
  facts.textContent = ["ETag", "Link", "Location", "Retry-After"]
    .filter((name) => headers.has(name)).map((name) => `${name}: ${headers.get(name)}`).join("  ·  ");
  const pre = document.createElement("pre");
  pre.className = "code";
  pre.tabIndex = 0;
  pre.textContent = text.length > MOST ? `${text.slice(0, MOST)}\n…` : text;
  output.replaceChildren(line, ...(facts.textContent ? [facts] : []), ...(text ? [pre] : []));
}

api?.addEventListener("submit", (event) => {
  const form = event.target.closest("[data-api-try]");
  if (!form) return;
  event.preventDefault();
  send(form);
});

const open = () => {
  const there = document.getElementById(location.hash.slice(1));
  if (there?.matches("details.operation")) there.open = true;
};
addEventListener("hashchange", open);
open();
