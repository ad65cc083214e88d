// [data-log]: the live log of a run. See runs/consumers.py for what travels, templates/runs/_log.html for the words.
import { Blocks } from "./log/blocks.js";
import { copyLines, textOf } from "./log/copying.js";
import { pressed } from "./log/keys.js";
import { linked, typed } from "./log/link.js";
import { BLOCK, Lines } from "./log/lines.js";
import { errorFrom, Search } from "./log/search.js";
import { LogSocket } from "./log/socket.js";
import { allStates, plain } from "./log/text.js";
import { View } from "./log/view.js";
import { count, say, size } from "./log/words.js";

const FINAL = ["Completed", "Failed", "Canceled"];
const TONES = { following: "run", paused: "idle", ended: "ok", reconnecting: "warn", connecting: "idle", waiting: "idle", removed: "bad" };
const kept = {
  get: (name) => { try { return localStorage.getItem(`log-${name}`); } catch { return null; } },
  set: (name, value) => { try { localStorage.setItem(`log-${name}`, value); } catch { /* private windows */ } },
};

class Log {
  constructor(section) {
    this.section = section;
    this.words = section.dataset;
    this.part = (name) => section.querySelector(`[data-log-${name}]`);
    this.leave = new AbortController();
    this.port = this.part("port");
    this.lines = new Lines();
    this.view = new View(this.port, this.lines, {
      dress: (index) => this.dress(index),
      missing: (first, last) => this.load(first, last),
      moved: () => this.moved(),
    });
    this.blocks = new Blocks(this);
    this.search = new Search(this);
    this.chosen = null; // [first, last] number of a line
    this.times = kept.get("times") === "yes";
    this.wrapped(kept.get("wrap") === "yes");
    this.part("times").setAttribute("aria-pressed", this.times);
    this.reason = this.part("reason").textContent;
    this.listen();
    const link = linked();
    const picker = this.part("stream");
    if (link.stream && ![...picker.options].some((option) => option.value === link.stream)) picker.add(new Option(link.stream, link.stream));
    this.open(link.stream || picker.value);
    section.log = this; // for the console, and for tests
  }

  // ----- streams

  open(stream) {
    this.socket?.close();
    this.part("stream").value = this.stream = stream;
    this.end = null; // the byte to go on from; null until the server said where it begins
    this.ended = this.final = false;
    this.size = 0;
    this.live = Infinity; // bytes from here on came while we looked
    this.blocks.reset();
    this.uncounted = 0; // the byte in front of which the lines are not known
    this.checked = this.sha256 = null;
    this.errorAt = undefined;
    this.unchosen = null; // the byte of a line to choose as soon as its number is known
    this.view.looks.clear();
    this.seen = 0; // lines that were there when we stopped following
    const link = linked();
    this.chosen = link.lines;
    this.seek = this.chosen?.[0] ?? null;
    this.lines.reset(0);
    this.view.scroll = 0;
    this.view.following = true;
    const file = this.words.download.replace("STREAM", stream.split("/").map(encodeURIComponent).join("/"));
    this.file = file;
    this.questions = `${file}/ask`;
    this.search.for(this.search.query);
    if (link.place) this.seekPlace(link.place);
    this.part("download").href = `${file}?download=1`;
    this.note("");
    this.state("connecting");
    this.socket = new LogSocket(this.words.socket, stream, this);
    this.view.redress();
  }

  told(message) {
    if ("from" in message) this.begins(message);
    else if ("of" in message) this.numbered(message);
    else if ("groups" in message) this.news(message);
    else if ("hole" in message) this.leftOut(message);
    else if (message.ended) this.finished(message);
  }

  leftOut({ hole }) {
    this.hole = hole;
    this.part("hole").hidden = !hole;
    if (hole) this.part("hole-said").textContent = say(this.words.holeSaid, { size: size(hole[1] - hole[0]), from: count.format(hole[0]), to: count.format(hole[1]) });
  }

  begins({ from, size, ended }) {
    if (this.end !== null && from > this.end) {
      this.lines.skip(from); // the middle of a log that is too long to keep
      this.end = from;
    } else if (this.end !== from) {
      if (this.end !== null) this.note(this.words.cutSaid);
      this.uncounted = Math.floor(from / BLOCK) * BLOCK;
      this.lines.reset(this.uncounted);
      this.lines.skip(from);
      this.blocks.reset();
      this.view.looks.clear();
      this.checked = this.sha256 = null;
      this.end = from;
      this.search.for(this.search.query);
      this.view.following = this.seek === null && !this.place;
    }
    this.live = Math.min(this.live, size);
    this.ended = ended;
    this.size = size;
    this.trouble = null;
    this.state();
    this.view.redress();
  }

  // Whether nothing more will be written, and all of it is here.
  get all() {
    return this.ended && this.end === this.size;
  }

  // Whether the socket has nothing more to bring.
  get complete() {
    return this.all && this.final;
  }

  came(bytes) {
    if (this.end >= this.live) this.blocks.came(this.end);
    this.lines.append(bytes);
    this.end = this.lines.end;
    if (this.end <= this.live) this.seen = this.lines.count; // it was there when we came
    this.search.find?.scan();
    if (this.seek !== null) this.seekLine();
    this.view.drawSoon();
  }

  block(number, bytes) {
    if (bytes.length === BLOCK) this.lines.put(number, bytes);
  }

  numbered({ of, counted, lines }) {
    if (of !== this.uncounted || !of) return;
    this.counted = counted;
    if (lines) {
      this.uncounted = 0;
      const added = this.lines.number(lines);
      this.seen += added;
      this.view.shifted(added);
    }
    if (this.seek !== null) this.seekLine();
    const found = this.unchosen !== null && this.lines.numbered ? this.lines.at(this.unchosen) : null;
    if (found !== null) {
      this.unchosen = null;
      this.choose([found + 1, found + 1]);
    }
    this.view.redress();
  }

  news({ reason, status, groups }) {
    this.reason = reason;
    this.final = FINAL.includes(status);
    const wanted = groups.flatMap((group) => group.streams), picker = this.part("stream");
    const have = new Set([...picker.options].map((option) => option.value));
    if (wanted.some((stream) => !have.has(stream))) {
      picker.replaceChildren(...groups.map((group) => {
        const part = document.createElement("optgroup");
        part.label = say(this.words.attemptSaid, { number: group.attempt });
        part.append(...group.streams.map((stream) => new Option(stream.slice(stream.indexOf("/") + 1), stream)));
        return part;
      }));
      picker.value = this.stream;
    }
    // A run that was preempted goes on under its next attempt, and so does who follows it.
    const [attempt, name] = [Number.parseInt(this.stream, 10), this.stream.slice(this.stream.indexOf("/") + 1)];
    const next = wanted.find((stream) => Number.parseInt(stream, 10) > attempt && stream.endsWith(`/${name}`));
    if (next && this.view.following && !this.chosen && this.all) this.open(next);
    else this.state();
  }

  finished({ size, sha256 }) {
    this.size = size;
    if (this.sha256 !== sha256) this.checked = null;
    this.sha256 = sha256;
    if (this.end === size) {
      this.ended = true;
      this.state();
      this.check();
    }
  }

  // Compute the digest of what is here, where all of it is here and the browser lets us.
  async check() {
    const { lines, end, sha256, stream } = this;
    if (!sha256 || this.checked || lines.solid !== 0 || !globalThis.crypto?.subtle) return;
    const digest = await crypto.subtle.digest("SHA-256", lines.read(0, end));
    if (this.stream !== stream || this.sha256 !== sha256 || this.end !== end) return;
    const own = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    this.checked = own === sha256 ? "same" : "other";
    this.state();
  }

  // ----- what is shown

  // Say that the lines in front are being counted.
  tellUnloaded() {
    const place = this.part("earlier");
    place.hidden = !this.uncounted;
    if (this.uncounted) this.part("earlier-said").textContent = say(this.words.countingSaid, { size: size(this.uncounted - (this.counted ?? 0)) });
  }

  dress(index) {
    const { lines } = this, number = lines.numbered ? index + 1 : null;
    const inside = this.chosen && number !== null && number >= this.chosen[0] && number <= this.chosen[1];
    return {
      number: number === null ? "…" : count.format(number),
      href: number === null ? "#" : this.linkTo([number, number]),
      chosen: inside || this.search.isAt(index),
      at: this.times ? this.blocks.arrival(lines.start(index)) : undefined,
      hits: this.search.query ? (text) => this.search.hits(text) : null,
      rewritten: (times) => say(this.words.rewrittenSaid, { times: count.format(times) }),
      cut: (bytes) => say(this.words.longSaid, { size: size(bytes) }),
    };
  }

  moved() {
    const { view, lines } = this;
    this.seen = view.following ? lines.count : Math.max(this.seen, view.last);
    const fresh = lines.count - this.seen, pill = this.part("pill");
    pill.hidden = view.following || fresh <= 0;
    if (!pill.hidden) pill.textContent = say(fresh === 1 ? this.words.newLineSaid : this.words.newLinesSaid, { count: count.format(fresh) });
    const digits = count.format(lines.count).length;
    if (digits !== this.digits) this.port.style.setProperty("--log-digits", Math.max(3, (this.digits = digits)));
    this.tellUnloaded();
    this.state();
  }

  // Say how things stand; `word` when the socket says so, else as it follows from what we know.
  state(word) {
    if (word) this.trouble = word;
    const all = this.all;
    const now = this.trouble ?? (all ? "ended" : this.lines.count === 0 ? "waiting" : this.view.following ? "following" : "paused");
    const place = this.part("state");
    if (this.now !== now) {
      place.className = `state ${TONES[now]}`;
      place.querySelector("em").textContent = this.words[`${now}Said`];
      this.now = this.section.dataset.now = now;
    }
    const foot = this.part("size"), one = this.lines.numbered && this.lines.count === 1 ? "One" : "";
    const words = this.words[`${all ? "all" : "size"}${one}Said`];
    const text = this.end ? say(words, { bytes: count.format(this.end), lines: this.lines.numbered ? count.format(this.lines.count) : "…" }) : "";
    if (foot.textContent !== text) foot.textContent = text;
    const digest = this.part("digest");
    digest.hidden = !(all && this.sha256);
    if (!digest.hidden) {
      this.part("sha").textContent = digest.querySelector("[data-copy]").dataset.copy = this.sha256;
      this.part("checked").textContent = this.words[this.checked ? `${this.checked}Said` : "serverSaid"];
    }
    const empty = this.part("empty");
    empty.hidden = this.lines.count > 0;
    if (!empty.hidden) {
      this.part("empty-said").textContent = all ? this.words.nothingSaid : this.words.firstSaid;
      this.part("reason").textContent = all ? "" : this.reason;
    }
  }

  note(words) {
    const place = this.part("note");
    place.textContent = words;
    place.hidden = !words;
  }

  wrapped(on) {
    const line = this.view.first;
    this.view.wrap = on;
    this.section.classList.toggle("wrapped", on);
    this.part("wrap").setAttribute("aria-pressed", on);
    this.view.average = this.view.height;
    this.view.topmost = undefined;
    if (!this.view.following) {
      this.view.scroll = on ? this.view.scrollFor(line) : line * this.view.height;
    }
    this.view.redress();
  }

  // Load what of the lines first … last - 1 is missing; once it is here, what whoever reads comes to next.
  load(first, last) {
    const missing = this.lines.missing(first, last);
    this.blocks.want(missing, this.times && this.blocks.of(first, last));
    if (!missing.length && this.lines.numbered && !this.view.following) this.blocks.ahead(first, last);
  }

  // ----- places in it

  // Bring the line that holds a byte into sight; its index, or null when somebody went elsewhere meanwhile.
  async showByte(offset) {
    const { lines } = this, mine = (this.going = {});
    this.view.following = false;
    for (let tries = 0; lines.at(offset) === null && tries < 50; tries++) {
      await (lines.numbered ? this.blocks.load(Math.floor(offset / BLOCK)) : new Promise((go) => setTimeout(go, 100)));
      if (this.going !== mine) return null;
    }
    const index = lines.at(offset);
    if (index !== null) this.view.show(index);
    return index;
  }

  // Go to the next line that looks like an error, in all of the log; from the last one to the first.
  async nextError() {
    const { lines } = this, first = Math.max(0, this.view.first);
    const shown = this.errorAt === undefined ? lines.start(first) : null, after = shown ?? (this.errorAt ?? -1) + 1;
    if (lines.solid > 0) this.note(this.words.searchingSaid);
    const offset = (await errorFrom(this, after)) ?? (await errorFrom(this, 0));
    this.note(offset === null ? this.words.noErrorSaid : "");
    if (offset === null) return;
    const index = await this.showByte(offset);
    if (index === null) return;
    this.errorAt = lines.range(index)?.[1] ?? offset;
    if (lines.numbered) this.choose([index + 1, index + 1]);
    else this.unchosen = offset; // its number is not known yet
  }

  // Go to a byte or a moment: the server knows its line.
  async seekPlace(place) {
    const { stream } = this;
    this.place = place;
    this.view.following = false;
    try {
      const answer = await fetch(`${this.questions}?${new URLSearchParams(place)}`, { signal: this.leave.signal });
      if (!answer.ok) throw new Error(String(answer.status));
      const { line } = await answer.json();
      if (this.stream !== stream) return;
      this.chosen = [line, line];
      this.seek = line;
      this.seekLine();
      this.view.redress();
    } catch (problem) {
      if (problem.name !== "AbortError") this.note(this.words.nowhereSaid);
    } finally {
      this.place = null;
    }
  }

  // Go where somebody asks: "5000", "50 %", "14:32", "2026-11-22 14:32:10".
  goTo(words) {
    const asked = typed(words);
    if (!asked) return this.note(this.words.nowhereSaid);
    this.note("");
    if (asked.share !== undefined) return this.seekPlace({ offset: Math.max(0, Math.min(this.end - 1, Math.floor(this.end * asked.share))) });
    if (asked.time) return this.seekPlace(asked);
    this.seek = asked.line;
    this.choose([asked.line, asked.line]);
    return this.seekLine();
  }

  linkTo([first, last]) {
    return `#${this.stream}:L${first}${last === first ? "" : `-L${last}`}`;
  }

  choose(lines) {
    this.chosen = lines;
    history.replaceState(history.state, "", lines ? this.linkTo(lines) : `${location.pathname}${location.search}#${this.stream}`);
    this.part("copy").disabled = !lines;
    this.view.redress();
  }

  // Go to the line the address names, as soon as it is here.
  seekLine() {
    const { lines } = this, index = this.seek - 1;
    this.part("copy").disabled = !this.chosen;
    if (!lines.numbered || (index >= lines.count && !this.all)) return;
    this.seek = null;
    this.seen = lines.count; // what was there already is not new
    this.view.show(Math.max(0, Math.min(index, lines.count - 1)));
    this.view.redress();
  }

  // ----- what people do

  on(target, event, act) {
    target.addEventListener(event, act, { signal: this.leave.signal });
  }

  listen() {
    const on = this.on.bind(this);
    on(this.part("stream"), "change", ({ target }) => {
      history.replaceState(history.state, "", `#${target.value}`);
      this.open(target.value);
    });
    on(this.part("wrap"), "click", () => {
      kept.set("wrap", this.view.wrap ? "no" : "yes");
      this.wrapped(!this.view.wrap);
    });
    on(this.part("times"), "click", ({ currentTarget }) => {
      this.times = !this.times;
      kept.set("times", this.times ? "yes" : "no");
      currentTarget.setAttribute("aria-pressed", this.times);
      this.view.redress();
    });
    for (const kind of ["link", "text", "markdown"]) on(this.part(`copy-${kind}`), "click", () => copyLines(this, kind));
    on(this.part("go"), "click", () => this.part("places").showModal());
    on(this.part("places-close"), "click", () => this.part("places").close());
    on(this.part("places"), "close", ({ target }) => {
      if (target.returnValue === "go") this.goTo(target.querySelector("input").value);
      target.returnValue = "";
      this.port.focus();
    });
    on(this.part("pill"), "click", () => this.follow());
    on(this.port, "click", (event) => this.clicked(event));
    on(this.port, "copy", (event) => this.copied(event));
    on(document, "keydown", (event) => pressed(this, event));
    on(window, "hashchange", () => {
      const { stream, lines, place } = linked();
      if (stream && stream !== this.stream) this.open(stream);
      else if (place) this.seekPlace(place);
      else if (lines) {
        this.chosen = lines;
        this.seek = lines[0];
        this.seekLine();
        this.view.redress();
      }
    });
  }

  clicked(event) {
    const number = event.target.closest(".log-number"), states = event.target.closest("[data-states]");
    if (states) this.showStates(Number(states.dataset.states));
    if (!number) return;
    event.preventDefault();
    if (!this.lines.numbered || !number.href) return;
    const line = Number(number.parentElement.dataset.line) + 1;
    if (event.shiftKey && this.chosen) {
      getSelection().removeAllRanges();
      const [from] = this.chosen;
      this.choose([Math.min(from, line), Math.max(from, line)]);
    } else this.choose(this.chosen?.[0] === line && this.chosen[1] === line ? null : [line, line]);
    this.view.following = false;
  }

  showStates(index) {
    const dialog = this.part("states"), list = dialog.querySelector("pre");
    list.textContent = allStates(this.lines, index).map(plain).join("\n");
    dialog.showModal();
    list.scrollTop = list.scrollHeight;
  }

  // A selection has no numbers in it; without one, the chosen lines are copied.
  copied(event) {
    const selected = getSelection();
    if (!selected.isCollapsed || !this.chosen) return;
    event.clipboardData.setData("text/plain", textOf(this.lines, this.chosen));
    event.preventDefault();
  }

  follow() {
    this.chosen = null;
    this.going = null;
    this.part("copy").disabled = true;
    this.view.redress();
    this.view.toEnd();
  }

  destroy() {
    this.leave.abort();
    this.socket.close();
    this.view.destroy();
  }
}

// Logs come and go with the parts of a page that htmx swaps.
const open = new Map();
function look() {
  for (const [section, log] of open) {
    if (section.isConnected) continue;
    log.destroy();
    open.delete(section);
  }
  for (const section of document.querySelectorAll("[data-log]")) if (!open.has(section)) open.set(section, new Log(section));
}
look();
for (const event of ["htmx:afterSettle", "htmx:historyRestore"]) document.addEventListener(event, look);
