// [data-log]: the live log of a run. See runs/consumers.py for what travels, templates/runs/_log.html for the words.
import { errors, Find, literal } from "./log/find.js";
import { Lines } from "./log/lines.js";
import { LogSocket } from "./log/socket.js";
import { allStates, decode, lastState, plain } from "./log/text.js";
import { View } from "./log/view.js";

const EARLIER = 2 << 20; // bytes loaded at a time when somebody scrolls up
const FINAL = ["Completed", "Failed", "Canceled"];
const TONES = { following: "run", paused: "idle", ended: "ok", reconnecting: "warn", connecting: "idle", waiting: "idle", removed: "bad" };
const count = new Intl.NumberFormat(document.documentElement.lang || "en");
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 1 });
const say = (words, facts = {}) => words.replace(/\{(\w+)\}/g, (_, name) => facts[name]);
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
    this.view = new View(this.port, this.lines, { dress: (index) => this.dress(index), moved: () => this.moved() });
    this.chosen = null; // [first, last] number of a line
    this.times = kept.get("times") === "yes";
    this.wrapped(kept.get("wrap") === "yes");
    this.part("times").setAttribute("aria-pressed", this.times);
    this.reason = this.part("reason").textContent;
    this.listen();
    const link = this.linked();
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
    this.arrivals = { offsets: [], times: [] };
    this.seen = 0; // lines that were there when we stopped following
    this.chosen = this.linked().lines;
    this.seek = this.chosen?.[0] ?? null;
    this.lines.reset(0);
    this.view.scroll = 0;
    this.view.following = true;
    this.errors = null;
    this.search(this.query ?? "");
    const file = this.words.download.replace("STREAM", stream.split("/").map(encodeURIComponent).join("/"));
    this.file = file;
    this.part("download").href = `${file}?download=1`;
    this.note("");
    this.state("connecting");
    this.socket = new LogSocket(this.words.socket, stream, this);
    this.view.redress();
  }

  told(message) {
    if ("from" in message) this.begins(message);
    else if ("lines_before" in message) this.numbered(message);
    else if ("groups" in message) this.news(message);
    else if (message.ended) this.finished(message);
  }

  begins({ from, size, ended, lines_before: before }) {
    if (this.end !== from) {
      if (this.end !== null) this.note(this.words.cutSaid);
      this.lines.reset(from);
      this.lines.before = before;
      this.arrivals = { offsets: [], times: [] };
      this.find?.again();
      this.end = from;
      this.view.following = this.seek === null;
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
    if (this.end >= this.live) {
      const { offsets, times } = this.arrivals, now = Date.now();
      if (times.at(-1) !== now) {
        offsets.push(this.end);
        times.push(now);
      }
    }
    this.lines.append(bytes);
    this.end = this.lines.end;
    this.find?.scan();
    if (this.seek !== null) this.seekLine();
    this.view.drawSoon();
  }

  numbered({ lines_before: before, of }) {
    if (of !== this.lines.from) {
      // Counted for where we began; more was loaded in front since.
      if (this.lines.before === null && of > this.lines.from) this.lines.before = before - this.lines.at(of);
    } else this.lines.before = before;
    if (this.seek !== null) this.seekLine();
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
    this.sha256 = sha256;
    if (this.end === size) {
      this.ended = true;
      this.state();
    }
  }

  // ----- earlier lines

  async loadEarlier() {
    if (this.loading || this.lines.from === 0) return;
    const { stream, lines } = this, to = lines.from, from = Math.max(0, to - EARLIER);
    this.loading = true;
    this.tellUnloaded();
    try {
      const answer = await fetch(this.file, { headers: { Range: `bytes=${from}-${to - 1}` }, signal: this.leave.signal });
      if (answer.status !== 206 && !(answer.status === 200 && from === 0)) throw new Error(String(answer.status));
      const bytes = new Uint8Array(await answer.arrayBuffer()).subarray(0, to - from);
      if (this.stream !== stream || lines.from !== to) return;
      if (bytes.length !== to - from) throw new Error("short");
      const added = lines.prepend(bytes);
      this.find?.scan();
      this.view.shifted(added);
      this.seen += added;
      this.view.redress();
    } catch (problem) {
      if (problem.name !== "AbortError") this.note(this.words.earlierFailed);
      this.broken = true;
    } finally {
      this.loading = false;
      this.tellUnloaded();
      if (this.seek !== null) this.seekLine();
    }
  }

  async loadAll() {
    this.broken = false;
    while (this.lines.from > 0 && !this.broken && this.port.isConnected) await this.loadEarlier();
  }

  tellUnloaded() {
    const { from, before } = this.lines, place = this.part("earlier");
    place.hidden = from === 0;
    if (from === 0) return;
    const facts = { size: this.bytes(from), lines: before === null ? "…" : count.format(before) };
    this.part("earlier-said").textContent = say(this.loading ? this.words.loadingSaid : this.words.earlierSaid, facts);
  }

  // ----- what is shown

  dress(index) {
    const { lines } = this, number = lines.before === null ? null : lines.before + index + 1;
    const inside = this.chosen && number !== null && number >= this.chosen[0] && number <= this.chosen[1];
    const current = this.find && this.current !== undefined && lines.at(this.current) === index;
    return {
      number: number === null ? "…" : count.format(number),
      href: number === null ? "#" : this.linkTo([number, number]),
      chosen: inside || current,
      at: this.times ? this.arrival(lines.starts[index]) : undefined,
      hits: this.query ? (text) => this.hitsIn(text) : null,
      rewritten: (times) => say(this.words.rewrittenSaid, { times: count.format(times) }),
      cut: (bytes) => say(this.words.longSaid, { size: this.bytes(bytes) }),
    };
  }

  hitsIn(text) {
    const wanted = this.query.replace(/[A-Z]/g, (c) => c.toLowerCase()), low = text.replace(/[A-Z]/g, (c) => c.toLowerCase());
    const hits = [];
    for (let at = low.indexOf(wanted); at >= 0 && hits.length < 1000; at = low.indexOf(wanted, at + wanted.length)) hits.push([at, at + wanted.length]);
    return hits;
  }

  arrival(offset) {
    const { offsets, times } = this.arrivals;
    let low = 0, high = offsets.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (offsets[middle] <= offset) low = middle + 1;
      else high = middle;
    }
    return low ? clock.format(times[low - 1]) : "—";
  }

  bytes(number) {
    if (number < 1000) return `${number} B`;
    const unit = number < 1e6 ? "kB" : number < 1e9 ? "MB" : "GB";
    return `${count.format(Number((number / { kB: 1e3, MB: 1e6, GB: 1e9 }[unit]).toPrecision(3)))} ${unit}`;
  }

  moved() {
    const { view, lines } = this;
    this.seen = view.following ? lines.count : Math.max(this.seen, view.last);
    if (view.scroll < 2 * view.tall && lines.from > 0 && !this.broken && (view.moved || this.seek !== null)) this.loadEarlier();
    const fresh = lines.count - this.seen, pill = this.part("pill");
    pill.hidden = view.following || fresh <= 0;
    if (!pill.hidden) pill.textContent = say(fresh === 1 ? this.words.newLineSaid : this.words.newLinesSaid, { count: count.format(fresh) });
    const digits = count.format((lines.before ?? 0) + lines.count).length;
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
    const foot = this.part("size"), whole = this.lines.from === 0;
    const words = all && whole ? this.words.allSaid : this.words.sizeSaid;
    const text = this.end ? say(words, { bytes: count.format(this.end), lines: this.lines.before === null ? "…" : count.format(this.lines.before + this.lines.count) }) : "";
    if (foot.textContent !== text) foot.textContent = text;
    foot.title = all && this.sha256 ? `SHA-256 ${this.sha256}` : "";
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

  // ----- find

  search(query) {
    this.query = query;
    this.current = undefined;
    this.find = query ? new Find(this.lines, literal(query), () => this.found()) : null;
    this.fresh = Boolean(query);
    this.found();
    this.find?.scan();
    this.view.redress();
  }

  found() {
    const place = this.part("found");
    if (!this.find) {
      place.textContent = "";
      return;
    }
    const { offsets, more, to } = this.find;
    if (this.fresh && offsets.length && this.current === undefined) {
      const start = this.lines.starts[Math.min(this.view.first, this.lines.known - 1)];
      this.fresh = false;
      this.jump(offsets[this.find.after(start)] ?? offsets[0]);
      return;
    }
    const number = this.current === undefined ? 0 : this.find.after(this.current) + 1;
    const facts = { number: count.format(number), count: count.format(offsets.length) + (more ? "+" : "") };
    const words = offsets.length ? this.words.foundSaid : to < this.lines.end ? this.words.searchingSaid : this.words.noneSaid;
    place.textContent = say(words, facts) + (this.lines.from > 0 ? ` ${this.words.partSaid}` : "");
  }

  jump(offset) {
    this.current = offset;
    this.view.show(this.lines.at(offset));
    this.view.redress();
    this.found();
  }

  next(by) {
    const offsets = this.find?.offsets;
    if (!offsets?.length) return;
    const at = this.current === undefined ? (by > 0 ? -1 : 0) : this.find.after(this.current);
    this.jump(offsets[(at + by + offsets.length) % offsets.length]);
  }

  async nextError() {
    this.errors ??= new Find(this.lines, errors());
    await this.errors.scan();
    const { offsets } = this.errors, { lines } = this;
    if (!offsets.length) return this.note(this.words.noErrorSaid);
    this.note("");
    const here = this.errorLine ?? this.view.first - 1;
    const offset = offsets.find((one) => lines.at(one) > here) ?? offsets[0];
    this.errorLine = lines.at(offset);
    this.choose([lines.before + this.errorLine + 1, lines.before + this.errorLine + 1]);
    this.view.show(this.errorLine);
  }

  // ----- lines by link

  linked() {
    const hash = decodeURIComponent(location.hash.slice(1));
    const match = /^(?:([\w.-]+\/[\w.-]+))?:?(?:L(\d{1,15})(?:-L?(\d{1,15}))?)?$/.exec(hash);
    if (!match) return { stream: null, lines: null };
    const first = Number(match[2]), last = Number(match[3] ?? match[2]);
    return { stream: match[1] ?? null, lines: match[2] ? [Math.min(first, last), Math.max(first, last)] : null };
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
    const { lines } = this;
    this.part("copy").disabled = !this.chosen;
    if (lines.before === null) return;
    const index = this.seek - 1 - lines.before;
    if (index < 0) this.loadEarlier();
    else if (index < lines.count) {
      this.seek = null;
      this.seen = lines.count; // what was there already is not new
      this.view.show(index);
      this.view.redress();
    }
  }

  text([first, last]) {
    const { lines } = this, parts = [];
    for (let index = Math.max(0, first - 1 - lines.before); index < Math.min(lines.count, last - lines.before); index++) {
      parts.push(plain(decode(lastState(lines, index).bytes)));
    }
    return parts.join("\n");
  }

  // ----- what people do

  listen() {
    const on = (target, event, act, options = {}) => target.addEventListener(event, act, { ...options, signal: this.leave.signal });
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
    on(this.part("copy"), "click", () => this.copyLink());
    on(this.part("pill"), "click", () => this.follow());
    on(this.part("load"), "click", () => this.loadAll());
    on(this.part("find"), "input", ({ target }) => this.search(target.value));
    on(this.part("find"), "keydown", (event) => {
      if (event.key === "Enter") this.next(event.shiftKey ? -1 : 1);
      else if (event.key === "Escape") {
        event.target.value = "";
        this.search("");
        this.port.focus();
      } else return;
      event.preventDefault();
    });
    on(this.port, "click", (event) => this.clicked(event));
    on(this.port, "copy", (event) => this.copied(event));
    on(document, "keydown", (event) => this.pressed(event));
    on(window, "hashchange", () => {
      const { stream, lines } = this.linked();
      if (stream && stream !== this.stream) this.open(stream);
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
    if (this.lines.before === null) return;
    const line = this.lines.before + Number(number.parentElement.dataset.line) + 1;
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
    event.clipboardData.setData("text/plain", this.text(this.chosen));
    event.preventDefault();
  }

  async copyLink() {
    const link = new URL(this.linkTo(this.chosen), location.href).href;
    const button = this.part("copy"), words = button.textContent;
    try {
      await navigator.clipboard.writeText(link);
      button.textContent = this.words.copiedSaid;
    } catch {
      button.textContent = this.words.notCopiedSaid; // it stands in the address bar
    }
    setTimeout(() => (button.textContent = words), 1600);
  }

  follow() {
    this.chosen = null;
    this.part("copy").disabled = true;
    this.view.redress();
    this.view.toEnd();
  }

  pressed(event) {
    const inside = this.section.contains(event.target);
    if (event.defaultPrevented || event.altKey || document.querySelector("dialog[open]")) return;
    if ((event.ctrlKey || event.metaKey) && event.key === "f" && inside) {
      event.preventDefault();
      return this.part("find").select();
    }
    if (event.ctrlKey || event.metaKey || event.target.closest?.("input, textarea, select, [contenteditable]")) return;
    if (!inside && event.target !== document.body && event.target.id !== "main") return;
    const page = this.view.tall - 2 * this.view.height, onPort = event.target === this.port;
    const keys = {
      n: () => this.next(1),
      N: () => this.next(-1),
      e: () => this.nextError(),
      f: () => this.follow(),
      w: () => this.part("wrap").click(),
      ...(onPort && {
        ArrowDown: () => this.view.by(this.view.average),
        ArrowUp: () => this.view.by(-this.view.average),
        PageDown: () => this.view.by(page),
        PageUp: () => this.view.by(-page),
        " ": () => this.view.by(event.shiftKey ? -page : page),
        Home: () => this.view.to(0),
        End: () => this.view.toEnd(),
      }),
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
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
