// The page's one websocket: each nudge becomes events on <body>, and the parts that listen ask again for themselves.
//   run:moved {id: 7}  →  "run-7:row", unless the row came along, "run-7:moved" and "run:moved" at once, then at most every 100 ms; "run:moved-slow", for what is
//   beside the point, within about a second, each page at its own moment, then at most every 2 s
// After a cut, "live:back" lets every part catch up. [data-live-state] says whether the page is kept live.
const QUICK = 100, SLOW = 2000; // ms between two events of one name
const SOON = 600, LATEST = 1200; // ms until a slow one: rows come first, and not all pages ask at once
const FIRST_WAIT = 300, LONGEST_WAIT = 15000; // ms before connecting again
const SIGNED_OUT = 4401, REMOVED = 4403; // this session was ended; the person left the workspace

const { live } = document.body.dataset;
const held = new Map(); // event name → the newest facts that wait, or null when none do

const late = new Map(); // event name → facts, for parts that were asking when it came

document.addEventListener("htmx:afterSettle", () => {
  for (const [name, facts] of late) {
    if (document.querySelector(`.htmx-request[hx-trigger*="${name} "]`)) continue;
    late.delete(name);
    tell(name, facts, QUICK);
  }
});

// What a finger or a mouse button is on is not torn away from under it: its part comes anew once it is released.
let pressed = null;
const heldBack = new Set(); // parts whose answer came meanwhile

addEventListener("pointerdown", (event) => { pressed = event.target; }, true);
for (const name of ["pointerup", "pointercancel"]) {
  addEventListener(name, () => setTimeout(() => { // the click comes first
    pressed = null;
    for (const part of heldBack) {
      if (part.isConnected) window.htmx.ajax("GET", part.getAttribute("hx-get"), { source: part, target: part, swap: "outerHTML" });
    }
    heldBack.clear();
  }), true);
}
document.addEventListener("htmx:beforeSwap", (event) => {
  const { target, elt, requestConfig } = event.detail;
  if (!pressed || requestConfig?.verb !== "get" || target !== elt || !target.contains(pressed)) return;
  event.detail.shouldSwap = false;
  heldBack.add(target);
});

let missed = null; // event name → facts: what was told while a page was being fetched whose parts could not hear it

// From now on remember what is told; the function that is returned tells it to the parts that have come since.
export function remember() {
  missed = new Map();
  return () => {
    for (const [name, facts] of missed) document.body.dispatchEvent(new CustomEvent(name, { detail: facts }));
    missed = null;
  };
}

function tell(name, facts, every) {
  missed?.set(name, facts);
  if (held.has(name)) {
    held.set(name, facts);
    return;
  }
  // A part that is asking already, and is replaced by the answer, would not hear it: it is told again afterwards.
  if (document.querySelector(`.htmx-request[hx-trigger*="${name} "]`)) late.set(name, facts);
  document.body.dispatchEvent(new CustomEvent(name, { detail: facts }));
  held.set(name, null);
  setTimeout(() => {
    const newest = held.get(name);
    held.delete(name);
    if (newest) tell(name, newest, every);
  }, every);
}

// Say which rows this page shows: they come along with what is told of them.
let saidToShow = "";

function sayWhatIsShown() {
  if (!connected) return;
  const shows = Array.from(document.querySelectorAll("[data-live-row]"), (row) => row.id);
  const said = JSON.stringify({ shows, language: document.documentElement.lang });
  if (said === saidToShow || (!shows.length && !saidToShow)) return;
  saidToShow = said;
  socket.send(said);
}

function nudged({ event, html, ...facts }) {
  if (facts.id !== undefined) {
    const [kind, what] = event.split(":");
    const row = html && document.getElementById(`${kind}-${facts.id}`);
    if (row) window.htmx.swap(row, html, { swapStyle: "outerHTML" });
    else tell(`${kind}-${facts.id}:row`, facts, QUICK);
    tell(`${kind}-${facts.id}:${what}`, facts, QUICK);
    // What runs and waits on a target is shown with it.
    if (kind === "run" && facts.target) tell(`target-${facts.target}:moved`, { id: facts.target }, QUICK);
  }
  tell(event, facts, QUICK);
  soon(`${event}-slow`, facts);
}

const coming = new Map(); // name of a slow event → its newest facts

function soon(name, facts) {
  const first = !coming.has(name);
  coming.set(name, facts);
  if (!first) return;
  setTimeout(() => {
    const newest = coming.get(name);
    coming.delete(name);
    tell(name, newest, SLOW);
  }, SOON + Math.random() * (LATEST - SOON));
}

let connected = null; // null: not yet known

function say(now) {
  connected = now;
  document.body.dataset.liveNow = now ? "yes" : "no";
  for (const place of document.querySelectorAll("[data-live-state]")) {
    place.classList.toggle("run", now);
    place.classList.toggle("warn", !now);
    place.classList.remove("idle");
    (place.querySelector("em") ?? place).textContent = now ? place.dataset.liveSaid : place.dataset.backSaid;
  }
}

let socket = null, wait = FIRST_WAIT, cut = false, again = 0;

function connect() {
  clearTimeout(again);
  again = 0;
  socket = new WebSocket(new URL(live, location.href.replace(/^http/, "ws")));
  socket.onopen = () => {
    wait = FIRST_WAIT;
    say(true);
    saidToShow = "";
    sayWhatIsShown();
    if (cut) tell("live:back", {}, QUICK);
    cut = false;
  };
  socket.onmessage = (message) => nudged(JSON.parse(message.data));
  socket.onclose = (close) => {
    if (close.code === REMOVED || close.code === SIGNED_OUT) {
      location.assign("/");
      return;
    }
    cut = true;
    say(false);
    again = setTimeout(connect, wait * (0.5 + Math.random()));
    wait = Math.min(wait * 2, LONGEST_WAIT);
  };
}

if (live) {
  connect();
  // Back from sleep or from a cut network: do not wait for the timer.
  const hurry = () => {
    if (!again || document.hidden) return;
    wait = FIRST_WAIT;
    connect();
  };
  addEventListener("online", hurry);
  document.addEventListener("visibilitychange", hurry);
  document.addEventListener("htmx:load", () => {
    if (connected !== null) say(connected);
    sayWhatIsShown();
  });
}
