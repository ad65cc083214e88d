// [data-arrange]: tiles are moved and resized with arrow keys on their handle, or dragged by it. Each step is stored at once.
const STEPS = { ArrowLeft: "left", ArrowUp: "left", ArrowRight: "right", ArrowDown: "right" };
const SIZES = { ArrowLeft: "narrower", ArrowRight: "wider", ArrowUp: "lower", ArrowDown: "taller" };
const board = () => document.querySelector("[data-arrange]");
let busy = Promise.resolve(); // one step after the other, each on what the last one left

function step(id, answers) {
  busy = busy.then(() => send(id, answers)).catch(() => location.reload());
}

async function send(id, answers) {
  const form = board().querySelector(`[data-arranged="${id}"] [data-place]`);
  if (!form) return;
  const body = new FormData(form);
  for (const [name, value] of Object.entries(answers)) body.set(name, value);
  const answer = await fetch(form.action, { method: "POST", body, headers: { "HX-Request": "true" } });
  if (!answer.ok) throw new Error(String(answer.status));
  put(await answer.text());
  tell(id);
}

// Take over the new order and sizes; tiles that are here already stay, with what is drawn in them.
function put(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  const here = board(), focus = document.activeElement?.closest("[data-arranged]")?.dataset.arranged;
  const wasHandle = document.activeElement?.matches("[data-handle]"), pressed = document.activeElement?.value;
  const all = [...template.content.querySelectorAll("[data-arranged]")];
  for (const one of all) {
    const old = here.querySelector(`[data-arranged="${one.dataset.arranged}"]`);
    if (old) {
      one.querySelector("[data-tile]").replaceWith(old.querySelector("[data-tile]"));
      one.querySelector("[data-tile]").className = `card tile w${one.dataset.width} h${one.dataset.height}`;
      old.remove();
    }
    here.append(one);
  }
  for (const one of [...here.children]) if (!all.includes(one)) one.remove();
  const moved = focus && here.querySelector(`[data-arranged="${focus}"]`);
  if (moved && !wasHandle) moved.querySelector(`[value="${pressed}"]:not(:disabled)`)?.focus();
  if (moved && !moved.contains(document.activeElement)) moved.querySelector("[data-handle]").focus();
  document.body.dispatchEvent(new CustomEvent("board:arranged"));
}

function tell(id) {
  const all = [...board().querySelectorAll("[data-arranged]")], one = all.find((place) => place.dataset.arranged === id);
  if (!one) return;
  const facts = { title: one.querySelector("h2").textContent, place: all.indexOf(one) + 1, all: all.length, ...one.dataset };
  const words = board().dataset.placeSaid.replace(/\{(\w+)\}/g, (_all, name) => facts[name]);
  document.querySelector("[data-arrange-said]").textContent = words;
}

const idOf = (target) => target.closest?.("[data-arranged]")?.dataset.arranged;

document.addEventListener("keydown", (event) => {
  if (!event.target.matches?.("[data-handle]") || event.ctrlKey || event.metaKey || event.altKey) return;
  const go = (event.shiftKey ? SIZES : STEPS)[event.key];
  if (!go) return;
  event.preventDefault();
  step(idOf(event.target), { go });
});
document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-place]")) return;
  event.preventDefault();
  if (event.submitter?.name === "go") step(idOf(event.target), { go: event.submitter.value });
});

let dragged = null;
document.addEventListener("dragstart", (event) => {
  if (!event.target.matches?.("[data-handle]")) return;
  dragged = idOf(event.target);
  event.dataTransfer.effectAllowed = "move";
  event.dataTransfer.setData("text/plain", "");
  event.dataTransfer.setDragImage(event.target.closest("[data-arranged]"), 20, 20);
});
document.addEventListener("dragover", (event) => {
  const over = event.target.closest?.("[data-arranged]");
  if (dragged === null || !over) return;
  event.preventDefault();
  for (const one of document.querySelectorAll(".over")) one.classList.toggle("over", one === over);
  over.classList.add("over");
});
document.addEventListener("drop", (event) => {
  const over = event.target.closest?.("[data-arranged]");
  if (dragged === null || !over) return;
  event.preventDefault();
  const position = [...board().querySelectorAll("[data-arranged]")].indexOf(over);
  if (over.dataset.arranged !== dragged) step(dragged, { position });
});
document.addEventListener("dragend", () => {
  dragged = null;
  for (const one of document.querySelectorAll(".over")) one.classList.remove("over");
});
// Somebody else arranged it meanwhile.
document.body.addEventListener("board:rearranged", () => {
  busy = busy.then(async () => {
    const answer = await fetch(location.href, { headers: { "HX-Request": "true" } });
    if (answer.ok) put(await answer.text());
  });
});
