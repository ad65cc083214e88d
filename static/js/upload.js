// [data-upload]: files by drop or by choice, listed before they are sent. What form[data-submit] sends is read by submit.js
// with `chosenFiles(form)`: {archive} or {files: [{file, path}], texts: [{file, path}]}; `texts` are what the studio reads
// before anything is sent: git's own files and the ignore file.
import { ignorer } from "./ignore.js";

const KEPT_OF_GIT = /(^|\/)\.git\/(HEAD|config|packed-refs|refs\/heads\/.+)$/; // from which the server reads branch and commit
const LONGEST_GIT_FILE = 4 * 1024 * 1024; // bytes
const MOST_LISTED = 300;
const MOST_READ = 100000; // entries of a dropped folder

const chosen = new WeakMap(); // form → {archive?, files?}

export const chosenFiles = (form) => chosen.get(form) ?? {};

const written = new Intl.NumberFormat(document.documentElement.lang || "en", { maximumFractionDigits: 1 });

export function size(bytes) {
  for (const [unit, one] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (bytes >= one) return `${written.format(bytes / one >= 100 ? Math.round(bytes / one) : bytes / one)} ${unit}`;
  }
  return `${bytes} B`;
}

const say = (text, facts) => Object.entries(facts).reduce((said, [key, value]) => said.replaceAll(`{${key}}`, value), text ?? "");

// The one folder that everything lies in, with its slash, or "".
function commonFolder(paths) {
  const first = paths[0]?.split("/")[0];
  return first && paths.every((path) => path.startsWith(`${first}/`)) ? `${first}/` : "";
}

async function textOf(entry) {
  return entry && entry.file.size < 65536 ? entry.file.text() : undefined;
}

async function take(area, entries) {
  const form = area.closest("form");
  const zip = entries.length === 1 && /\.zip$/i.test(entries[0].path) ? entries[0].file : null;
  if (zip) {
    chosen.set(form, { archive: zip });
    show(area, { kept: [{ path: zip.name, file: zip }], out: [], problem: "", note: area.dataset.zipSaid });
    offer(form, []);
    return;
  }
  const paths = entries.map((entry) => entry.path);
  const top = commonFolder(paths);
  const named = new Map(entries.map((entry) => [entry.path.slice(top.length), entry]));
  const left = ignorer({ amlignore: await textOf(named.get(".amlignore")), gitignore: await textOf(named.get(".gitignore")) });
  const kept = [], out = [], facts = [];
  for (const [path, entry] of named) {
    const by = left(path);
    if (by === null) kept.push({ path, file: entry.file, full: entry.path });
    else {
      if (KEPT_OF_GIT.test(path) && entry.file.size < LONGEST_GIT_FILE) facts.push(entry);
      else out.push({ path, file: entry.file, by });
    }
  }
  kept.sort((a, b) => (a.path < b.path ? -1 : 1));
  const bytes = kept.reduce((sum, { file }) => sum + file.size, 0);
  const mostBytes = Number(form.dataset.mostBytes), mostFiles = Number(form.dataset.mostFiles);
  let problem = "";
  if (kept.length > mostFiles) problem = say(area.dataset.tooManySaid, { n: kept.length, most: mostFiles });
  else if (bytes > mostBytes) problem = say(area.dataset.tooLargeSaid, { size: size(bytes), most: form.dataset.mostSaid });
  const texts = [...facts, ...[".amlignore", ".gitignore"].map((name) => named.get(name)).filter(Boolean)];
  chosen.set(form, { files: kept.map(({ file, full }) => ({ file, path: full })), facts, texts, problem });
  show(area, { kept, out, problem, bytes });
  offer(form, kept.map(({ path }) => path));
  const requirements = named.get("requirements.txt");
  const pip = form.querySelector("[name=pip_text]");
  if (requirements && !pip.value.trim()) pip.value = (await textOf(requirements)) ?? "";
  const conda = named.get("environment.yml") ?? named.get("environment.yaml") ?? named.get("conda.yml");
  const condaText = form.querySelector("[name=conda_text]");
  if (conda && !condaText.value.trim()) condaText.value = (await textOf(conda)) ?? "";
}

function show(area, { kept, out, problem, bytes, note }) {
  const box = area.querySelector("[data-chosen]");
  const list = area.querySelector("[data-list]");
  const row = (path, file, words, muted) => {
    const line = document.createElement("tr");
    const name = line.insertCell(), room = line.insertCell(), why = line.insertCell();
    name.textContent = path;
    name.className = "wrap mono";
    room.textContent = size(file.size);
    room.className = "num";
    why.textContent = words;
    why.className = "muted";
    line.classList.toggle("left-out", muted);
    return line;
  };
  const rows = kept.slice(0, MOST_LISTED).map(({ path, file }) => row(path, file, "", false));
  if (kept.length > MOST_LISTED) {
    const more = document.createElement("tr");
    more.insertCell().textContent = say(area.dataset.moreSaid, { n: kept.length - MOST_LISTED });
    rows.push(more);
  }
  rows.push(...out.slice(0, 100).map(({ path, file, by }) => row(path, file, say(area.dataset.ignoredBySaid, { name: by || area.dataset.defaultSaid }), true)));
  list.replaceChildren(...rows);
  area.querySelector("[data-total]").textContent = note ?? say(area.dataset.totalSaid, { n: kept.length, size: size(bytes) });
  area.querySelector("[data-left-out]").textContent = out.length ? say(area.dataset.leftOutSaid, { n: out.length }) : "";
  box.hidden = false;
  complain(area, problem);
}

function complain(area, problem) {
  const errors = area.querySelector("[data-errors]");
  errors.replaceChildren(...(problem ? [Object.assign(document.createElement("li"), { textContent: problem })] : []));
  area.classList.toggle("invalid", Boolean(problem));
}

// Offer the scripts, and fill in the one that is most likely meant.
export function offer(form, paths) {
  const scripts = paths.filter((path) => /\.(py|usql)$/.test(path));
  form.querySelector("[data-scripts]").replaceChildren(...scripts.slice(0, 200).map((path) => Object.assign(document.createElement("option"), { value: path })));
  const field = form.querySelector("[name=script]");
  if (scripts.includes(field.value)) return;
  const likely = ["train.py", "main.py"].find((name) => scripts.includes(name))
    ?? scripts.find((path) => path.endsWith("/train.py")) ?? (scripts.length === 1 ? scripts[0] : "");
  if (likely && (!field.value || field.dataset.filled === field.value)) {
    field.value = likely;
    field.dataset.filled = likely;
  }
}

function clear(area) {
  chosen.delete(area.closest("form"));
  for (const input of area.querySelectorAll("input[type=file]")) input.value = "";
  area.querySelector("[data-chosen]").hidden = true;
  area.querySelector("[data-list]").replaceChildren();
  complain(area, "");
}

async function filesOf(entry, into, told) {
  if (into.length >= MOST_READ) return;
  if (entry.isFile) {
    into.push({ file: await new Promise((resolve, reject) => { entry.file(resolve, reject); }), path: entry.fullPath.replace(/^\//, "") });
    if (into.length % 200 === 0) told(into.length);
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
    if (!some.length) return;
    for (const one of some) await filesOf(one, into, told);
  }
}

for (const area of document.querySelectorAll("[data-upload]")) {
  const drop = area.querySelector("[data-drop]");
  const fromInput = (input) => [...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
  for (const input of area.querySelectorAll("input[type=file]")) {
    input.addEventListener("change", () => {
      if (!input.files.length) return;
      for (const other of area.querySelectorAll("input[type=file]")) if (other !== input) other.value = "";
      take(area, fromInput(input));
    });
  }
  area.querySelector("[data-clear]").addEventListener("click", () => clear(area));
  for (const name of ["dragenter", "dragover"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  drop.addEventListener("dragleave", (event) => { if (!drop.contains(event.relatedTarget)) drop.classList.remove("over"); });
  drop.addEventListener("drop", async (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const dropped = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const plain = [...event.dataTransfer.files];
    const entries = [];
    const total = area.querySelector("[data-total]");
    const told = (n) => {
      area.querySelector("[data-chosen]").hidden = false;
      total.textContent = say(area.dataset.readingSaid, { n });
    };
    if (dropped.length) for (const entry of dropped) await filesOf(entry, entries, told);
    else entries.push(...plain.map((file) => ({ file, path: file.name })));
    if (entries.length) await take(area, entries);
  });
}
