// [data-board="/ws/…"]: a dashboard that is kept fresh. Tiles come whole over the socket, and take the place of the old ones.
// It never shows what is old as fresh: without a beat for SILENT, every tile says as of when it is.
import { draw, letGo } from "./chart.js";

const FIRST_WAIT = 500, LONGEST_WAIT = 15_000; // ms before connecting again; it never gives up
const SILENT = 15_000; // ms without a word of the studio
const RELOAD_AT_MOST_EVERY = 60_000; // ms
const GONE = [4401, 4403, 4404]; // signed out, removed; deleted, revoked, too old

const board = document.querySelector("[data-board]");
const said = { ...board.dataset };
const arranging = "arrange" in said;
const language = document.documentElement.lang || "en";
const clockFace = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const opened = Date.now();
let heard = Date.now(); // by this machine's clock
let asOf = Date.now(), ahead = 0; // by the studio's clock, and how far that is ahead
let wait = FIRST_WAIT, again = 0, over = false, socket = null;

const tileOf = (id) => document.getElementById(`tile-${id}`);
const parsed = (html) => {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
};

// Put a tile in the place of its older self; a chart that is drawn already stays, and is drawn over.
function put(tile, old) {
  if (old && old.dataset.digest === tile.dataset.digest && !arranging) return old;
  const chart = tile.querySelector("[data-chart]"), drawn = old?.querySelector("[data-chart]");
  if (chart && drawn) {
    drawn.dataset.chart = chart.dataset.chart;
    drawn.setAttribute("aria-label", chart.getAttribute("aria-label"));
    chart.replaceWith(drawn);
    draw(drawn);
  } else if (drawn) letGo(drawn);
  if (old && arranging) {
    old.querySelector(".tile-body").replaceWith(tile.querySelector(".tile-body"));
    return old;
  }
  if (old) {
    const focused = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    old.replaceWith(tile);
    if (focused) tile.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus();
  }
  return tile;
}

function putBoard({ html, name }) {
  for (const place of document.querySelectorAll("[data-board-name]")) place.textContent = name;
  if (board.hasAttribute("data-wall")) document.title = name;
  const tiles = [...parsed(html).querySelectorAll("[data-tile]")];
  const order = tiles.map((tile) => tile.id).join(), here = [...board.querySelectorAll("[data-tile]")];
  if (arranging) {
    if (order !== here.map((tile) => tile.id).join()) document.body.dispatchEvent(new CustomEvent("board:rearranged"));
    return;
  }
  const kept = new Set(tiles.map((tile) => tile.id));
  for (const tile of here) {
    if (kept.has(tile.id)) continue;
    tile.querySelectorAll("[data-chart]").forEach(letGo);
    tile.remove();
  }
  let before = null;
  for (const tile of tiles) {
    const now = put(tile, tileOf(tile.dataset.tile));
    const place = before ? before.nextElementSibling : board.firstElementChild;
    if (now !== place) board.insertBefore(now, place);
    before = now;
  }
  drawAll();
}

// On a wall nobody scrolls: what is not to be seen whole is not shown.
function fit() {
  if (!board.hasAttribute("data-wall")) return;
  for (const body of board.querySelectorAll(".tile-body")) {
    const lines = [...body.querySelectorAll(".tile-items > li, .figures > div")], bottom = body.getBoundingClientRect().bottom;
    for (const line of lines) line.hidden = false;
    for (const line of lines) line.hidden = line.getBoundingClientRect().bottom > bottom;
  }
}
addEventListener("resize", fit);

function drawAll() {
  fit();
  board.querySelectorAll("[data-chart]").forEach((place) => draw(place));
}

function hears({ data }) {
  const news = JSON.parse(data);
  heard = Date.now();
  wait = FIRST_WAIT;
  if (news.at) {
    asOf = Date.parse(news.at);
    ahead = asOf - heard;
  }
  if (news.version && news.version !== said.build && board.hasAttribute("data-wall") && Date.now() - opened > RELOAD_AT_MOST_EVERY) {
    location.reload();
    return;
  }
  if (news.tile) {
    const [tile] = parsed(news.html).children, old = tileOf(news.tile);
    if (old) put(tile, old);
    drawAll();
  } else if (news.html !== undefined && news.name !== undefined) putBoard(news);
  sayHowOld();
}

function connect() {
  again = 0;
  socket = new WebSocket(new URL(said.board, location.href.replace(/^http/, "ws")));
  socket.onmessage = hears;
  socket.onclose = ({ code }) => {
    if (over) return;
    if (GONE.includes(code)) {
      over = true;
      if (board.hasAttribute("data-wall")) sayGone();
      else location.assign(document.querySelector("[data-go=d]")?.href ?? "/");
      return;
    }
    heard = Math.min(heard, Date.now() - SILENT); // a socket that is cut is silent at once
    sayHowOld();
    again = setTimeout(connect, wait * (0.5 + Math.random()));
    wait = Math.min(wait * 2, LONGEST_WAIT);
  };
}

// What was shown by a link that works no more is taken away, not left standing.
function sayGone() {
  board.querySelectorAll("[data-chart]").forEach(letGo);
  const words = document.createElement("p");
  words.className = "card pad gone";
  words.textContent = said.goneSaid;
  board.replaceChildren(words);
}

const timeOf = (at) => clockFace.format(new Date(at));

function sayHowOld() {
  if (over) return;
  const silent = Date.now() - heard >= SILENT, now = Date.now() + ahead;
  for (const tile of board.querySelectorAll("[data-tile]")) {
    const place = tile.querySelector("[data-stale]"), sampled = Date.parse(tile.dataset.asOf);
    const old = sampled && now - sampled > tile.dataset.fresh * 1000;
    const words = silent ? said.reconnectingSaid.replace("{time}", timeOf(old ? sampled : asOf))
      : old ? said.oldSaid.replace("{time}", timeOf(sampled)) : "";
    if (place.textContent !== words) place.textContent = words;
    place.hidden = !words;
    tile.classList.toggle("old", Boolean(words));
  }
  const whole = document.querySelector("[data-board-stale]");
  const words = silent ? said.reconnectingSaid.replace("{time}", timeOf(asOf)) : "";
  if (whole && whole.textContent !== words) whole.textContent = words;
  const clock = document.querySelector("[data-clock]");
  if (clock) clock.textContent = timeOf(now);
}

// A socket that is open and says nothing may be cut without a word: it is opened anew.
function look() {
  if (!over && !again && Date.now() - heard >= 2 * SILENT && socket.readyState <= WebSocket.OPEN) {
    socket.onclose = null;
    socket.close();
    heard = Date.now() - SILENT;
    wait = FIRST_WAIT;
    connect();
  }
  sayHowOld();
}

connect();
setInterval(look, 1000);
addEventListener("online", () => { if (again) { clearTimeout(again); connect(); } });
document.addEventListener("htmx:load", drawAll);
document.body.addEventListener("board:arranged", drawAll);
if (document.readyState === "complete") drawAll();
else addEventListener("load", drawAll);
