// [data-log]: the live log of a run. See runs/consumers.py for what travels, templates/runs/_log.html for the words.
import { ask, errors, Find, literal, regular } from "./log/find.js";
import { linked } from "./log/link.js";
import { BLOCK, Lines } from "./log/lines.js";
import { LogSocket } from "./log/socket.js";
import { allStates, decode, lastState, plain } from "./log/text.js";
import { View } from "./log/view.js";

const AT_ONCE = 4; // blocks on their way
const TYPED = 250; // ms without a key before the server searches
const COPIED = 20_000; // lines
const FINAL = ["Completed", "Failed", "Canceled"];
const TONES = { following: "run", paused: "idle", ended: "ok", reconnecting: "warn", connecting: "idle", waiting: "idle", removed: "bad" };
const count = new Intl.NumberFormat(document.documentElement.lang || "en");
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 1 });
const seconds = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
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
    this.view = new View(this.port, this.lines, {
      dress: (index) => this.dress(index),
      missing: (first, last) => this.want(this.lines.missing(first, last), this.times && this.blocksOf(first, last)),
      moved: () => this.moved(),
    });
    this.chosen = null; // [first, last] number of a line
    this.regex = this.sameCase = false;
    this.coming = new Map(); // block → promise
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
    this.arrivals = { offsets: [], times: [] };
    this.marks = new Map(); // block → [[time, byte], …]
    this.coming.clear();
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
    this.search(this.query ?? "");
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
    if (hole) this.part("hole-said").textContent = say(this.words.holeSaid, { size: this.bytes(hole[1] - hole[0]), from: count.format(hole[0]), to: count.format(hole[1]) });
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
      this.coming.clear();
      this.marks.clear();
      this.view.looks.clear();
      this.arrivals = { offsets: [], times: [] };
      this.end = from;
      this.search(this.query);
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

  numbered({ of, counted, counts }) {
    if (of !== this.uncounted || !of) return;
    this.counted = counted;
    if (counts) {
      this.uncounted = 0;
      const added = this.lines.number(counts);
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
    if (this.stream !== stream || this.sha256 !== sha256) return;
    const own = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    this.checked = own === sha256 ? "same" : "other";
    this.state();
  }

  // ----- what is not here yet

  // Load blocks of the log, and with `timed` the times of those.
  want(blocks, timed) {
    for (const block of blocks) this.load(block);
    for (const block of timed || []) this.loadMarks(block);
  }

  // Load a block; resolves when it is here, or cannot be.
  load(block) {
    const { lines, stream } = this;
    if (lines.blocks.has(block)) return Promise.resolve();
    if (this.coming.has(block)) return this.coming.get(block);
    if (this.coming.size >= AT_ONCE) return Promise.race(this.coming.values()).then(() => this.view.draw());
    const from = block * BLOCK, to = Math.min(from + BLOCK, lines.end);
    const coming = (async () => {
      try {
        const answer = await fetch(this.file, { headers: { Range: `bytes=${from}-${to - 1}` }, signal: this.leave.signal });
        if (answer.status !== 206 && !(answer.status === 200 && from === 0)) throw new Error(String(answer.status));
        const bytes = new Uint8Array(await answer.arrayBuffer()).subarray(0, to - from);
        if (bytes.length !== to - from) throw new Error("short");
        if (this.stream === stream && this.coming.get(block) === coming) lines.put(block, bytes);
        this.view.draw();
      } catch (problem) {
        if (problem.name === "AbortError") return;
        this.note(this.words.earlierFailed);
        await new Promise((go) => setTimeout(go, 2000));
      } finally {
        if (this.coming.get(block) === coming) this.coming.delete(block);
      }
    })();
    this.coming.set(block, coming);
    return coming;
  }

  // Make sure of the lines first … last - 1; false where that cannot be.
  async fetchLines(first, last) {
    for (let tries = 0; tries < 200; tries++) {
      const missing = this.lines.missing(first, last);
      if (!missing.length) return true;
      if (missing.length > 48) return false;
      await Promise.all(missing.map((block) => this.load(block)));
    }
    return false;
  }

  blocksOf(first, last) {
    const found = new Set();
    for (const index of [first, last - 1]) {
      const start = index >= 0 ? this.lines.start(index) : null;
      if (start !== null) found.add(Math.floor(start / BLOCK));
    }
    return found;
  }

  async loadMarks(block) {
    const { stream } = this, old = this.marks.get(block);
    if (old && (old.whole || Date.now() - old.at < 3000)) return;
    const stop = (block + 1) * BLOCK, entry = { whole: this.lines.end >= stop || this.ended, at: Date.now(), times: old?.times ?? [] };
    this.marks.set(block, entry);
    try {
      const answer = await fetch(`${this.questions}?times&from=${block * BLOCK}&to=${stop}`, { signal: this.leave.signal });
      if (!answer.ok || this.stream !== stream) return;
      entry.times = (await answer.json()).times;
      this.view.redress();
    } catch { /* without times, lines have none */ }
  }

  // Say that the lines in front are being counted.
  tellUnloaded() {
    const place = this.part("earlier");
    place.hidden = !this.uncounted;
    if (this.uncounted) this.part("earlier-said").textContent = say(this.words.countingSaid, { size: this.bytes(this.uncounted - (this.counted ?? 0)) });
  }

  // ----- what is shown

  dress(index) {
    const { lines } = this, number = lines.numbered ? index + 1 : null;
    const inside = this.chosen && number !== null && number >= this.chosen[0] && number <= this.chosen[1];
    const current = this.find && this.current !== undefined && lines.at(this.current) === index;
    return {
      number: number === null ? "…" : count.format(number),
      href: number === null ? "#" : this.linkTo([number, number]),
      chosen: inside || current,
      at: this.times ? this.arrival(lines.start(index)) : undefined,
      hits: this.query ? (text) => this.hitsIn(text) : null,
      rewritten: (times) => say(this.words.rewrittenSaid, { times: count.format(times) }),
      cut: (bytes) => say(this.words.longSaid, { size: this.bytes(bytes) }),
    };
  }

  hitsIn(text) {
    if (this.regex) {
      try {
        return [...text.matchAll(new RegExp(this.query, this.sameCase ? "g" : "gi"))].filter((match) => match[0]).slice(0, 1000).map((match) => [match.index, match.index + match[0].length]);
      } catch {
        return [];
      }
    }
    const low = (words) => (this.sameCase ? words : words.replace(/[A-Z]/g, (c) => c.toLowerCase()));
    const wanted = low(this.query), all = low(text), hits = [];
    for (let at = all.indexOf(wanted); at >= 0 && hits.length < 1000; at = all.indexOf(wanted, at + wanted.length)) hits.push([at, at + wanted.length]);
    return hits;
  }

  // When a byte came: as it was seen here, else as it was noted where it was written, to the second.
  arrival(offset) {
    const { offsets, times } = this.arrivals;
    let low = 0, high = offsets.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (offsets[middle] <= offset) low = middle + 1;
      else high = middle;
    }
    if (low) return clock.format(times[low - 1]);
    const mark = this.marks.get(Math.floor(offset / BLOCK))?.times.find(([, size]) => size > offset);
    return mark ? seconds.format(mark[0] * 1000) : "—";
  }

  bytes(number) {
    if (number < 1000) return `${number} B`;
    const unit = number < 1e6 ? "kB" : number < 1e9 ? "MB" : "GB";
    return `${count.format(Number((number / { kB: 1e3, MB: 1e6, GB: 1e9 }[unit]).toPrecision(3)))} ${unit}`;
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
    const foot = this.part("size"), words = all ? this.words.allSaid : this.words.sizeSaid;
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

  // ----- find

  search(query) {
    this.query = query;
    this.current = undefined;
    this.searching?.abort();
    clearTimeout(this.typed);
    this.find = this.far = null;
    this.part("find").setAttribute("aria-invalid", "false");
    if (query) {
      try {
        const wanted = this.regex ? regular(query, this.sameCase) : literal(query, this.sameCase);
        this.find = new Find(this.lines, wanted, () => this.found());
        if (this.find.from > 0) this.typed = setTimeout(() => this.searchFar(), TYPED);
      } catch {
        this.part("find").setAttribute("aria-invalid", "true");
      }
    }
    this.fresh = Boolean(this.find);
    this.found();
    this.find?.scan();
    this.view.redress();
  }

  // Search on the server what is in front of the bytes that are searched here.
  async searchFar() {
    const facts = { search: this.query, from: 0, to: this.find.from, ...(this.regex && { regex: 1 }), ...(this.sameCase && { case: 1 }) };
    const far = (this.far = { offsets: [], count: 0, done: false }), leave = (this.searching = new AbortController());
    try {
      await ask(this.questions, facts, leave.signal, (heard) => {
        for (const [offset] of heard.at ?? []) far.offsets.push(offset);
        if (heard.count !== undefined) far.count = heard.count;
        far.stopped ||= heard.stopped;
        far.count = Math.max(far.count, far.offsets.length);
        if (this.far === far) this.found();
      });
      far.done = !far.stopped;
    } catch (problem) {
      if (problem.name === "AbortError") return;
      far.stopped = true;
    }
    if (far.stopped && this.far === far) this.note(this.words.stoppedSaid);
    if (this.far === far) this.found();
  }

  // Return match number `which`, the first being 0, in all of the log.
  match(which) {
    const far = this.far?.offsets ?? [];
    return which < far.length ? far[which] : this.find.offsets[which - far.length];
  }

  get matches() {
    return (this.far?.offsets.length ?? 0) + (this.find?.offsets.length ?? 0);
  }

  // Return the number of the first match at or after byte `offset`.
  matchAfter(offset) {
    const far = this.far?.offsets ?? [];
    if (far.length && far.at(-1) >= offset) return Find.prototype.after.call({ offsets: far }, offset);
    return far.length + this.find.after(offset);
  }

  found() {
    const place = this.part("found");
    if (!this.find) {
      place.textContent = "";
      return;
    }
    const { matches, far, find } = this, busy = find.to < this.lines.end || (find.from > 0 && !far?.done && !far?.stopped);
    if (this.fresh && matches && this.current === undefined && (find.offsets.length || !busy)) {
      const start = this.lines.start(Math.max(0, this.view.first));
      this.fresh = false;
      this.jump(this.match(start === null ? 0 : this.matchAfter(start)) ?? this.match(0));
      return;
    }
    const number = this.current === undefined ? 0 : this.matchAfter(this.current) + 1;
    const total = find.offsets.length + (far?.count ?? 0), more = find.more || far?.stopped || (busy && find.from > 0);
    const facts = { number: count.format(number), count: count.format(total) + (more ? "+" : "") };
    place.textContent = say(matches ? this.words.foundSaid : busy ? this.words.searchingSaid : this.words.noneSaid, facts);
  }

  async jump(offset) {
    this.current = offset;
    await this.showByte(offset);
    this.view.redress();
    this.found();
  }

  // Bring the line that holds a byte into sight; its index, or null when somebody went elsewhere meanwhile.
  async showByte(offset) {
    const { lines } = this, mine = (this.going = {});
    this.view.following = false;
    for (let tries = 0; lines.at(offset) === null && tries < 50; tries++) {
      await (lines.numbered ? this.load(Math.floor(offset / BLOCK)) : new Promise((go) => setTimeout(go, 100)));
      if (this.going !== mine) return null;
    }
    const index = lines.at(offset);
    if (index !== null) this.view.show(index);
    return index;
  }

  next(by) {
    const { matches } = this;
    if (!matches) return;
    const at = this.current === undefined ? (by > 0 ? -1 : 0) : this.matchAfter(this.current);
    this.jump(this.match((at + by + matches) % matches));
  }

  // Go to the next line that looks like an error, in all of the log; from the last one to the first.
  async nextError() {
    const { lines } = this, first = Math.max(0, this.view.first);
    const shown = this.errorAt === undefined ? lines.start(first) : null, after = shown ?? (this.errorAt ?? -1) + 1;
    if (lines.solid > 0) this.note(this.words.searchingSaid);
    const offset = (await this.errorFrom(after)) ?? (await this.errorFrom(0));
    this.note(offset === null ? this.words.noErrorSaid : "");
    if (offset === null) return;
    const index = await this.showByte(offset);
    if (index === null) return;
    this.errorAt = lines.range(index)?.[1] ?? offset;
    if (lines.numbered) this.choose([index + 1, index + 1]);
    else this.unchosen = offset; // its number is not known yet
  }

  async errorFrom(start) {
    const { lines } = this, solid = lines.solid;
    if (start < solid) {
      let found = null;
      const asked = ask(this.questions, { errors: 1, from: start, to: solid, most: 1 }, this.leave.signal, ({ at }) => (found ??= at?.[0]?.[0] ?? null));
      await asked.catch(() => this.note(this.words.stoppedSaid));
      if (found !== null) return found;
    }
    const find = new Find(lines, errors(), undefined, Math.max(start, solid));
    await find.scan();
    return find.offsets[0] ?? null;
  }

  // ----- lines by link

  // What the address names: #1/std_log.txt:L5-L9 lines, :B1048576 a byte, :T2026-11-22T14:32:00Z a moment.
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

  // Go where somebody asks: "5000", "14:32", "2026-11-22 14:32:10".
  goTo(text) {
    const number = /^[\d\s.,]+$/.test(text) && !/^\d\d?[.:]\d\d/.test(text) ? Number(text.replace(/\D/g, "")) : 0;
    if (number) {
      this.seek = number;
      this.choose([number, number]);
      return this.seekLine();
    }
    const now = new Date(), short = /^(\d\d?):(\d\d)(?::(\d\d))?$/.exec(text.trim());
    const moment = short ? new Date(now.getFullYear(), now.getMonth(), now.getDate(), short[1], short[2], short[3] ?? 0) : new Date(text.trim().replace(" ", "T"));
    if (Number.isNaN(moment.getTime())) return this.note(this.words.nowhereSaid);
    if (short && moment > now) moment.setDate(moment.getDate() - 1);
    return this.seekPlace({ time: moment.toISOString() });
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

  text([first, last]) {
    const { lines } = this, parts = [];
    for (let index = Math.max(0, first - 1); index < Math.min(lines.count, last); index++) {
      if (lines.range(index)) parts.push(plain(decode(lastState(lines, index).bytes)));
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
    for (const kind of ["link", "text", "markdown"]) on(this.part(`copy-${kind}`), "click", () => this.copyLines(kind));
    for (const [name, option] of [["regex", "regex"], ["case", "sameCase"]]) {
      on(this.part(name), "click", ({ currentTarget }) => {
        this[option] = !this[option];
        currentTarget.setAttribute("aria-pressed", this[option]);
        this.search(this.query);
      });
    }
    on(this.part("go"), "click", () => this.part("places").showModal());
    on(this.part("places-close"), "click", () => this.part("places").close());
    on(this.part("places"), "close", ({ target }) => {
      if (target.returnValue === "go") this.goTo(target.querySelector("input").value);
      target.returnValue = "";
      this.port.focus();
    });
    on(this.part("pill"), "click", () => this.follow());
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
    event.clipboardData.setData("text/plain", this.text(this.chosen));
    event.preventDefault();
  }

  // Copy a link to the chosen lines, their text, or both as Markdown.
  async copyLines(kind) {
    const [first, last] = this.chosen, link = new URL(this.linkTo(this.chosen), location.href).href;
    const menu = this.part("copy-menu"), label = this.part("copy-said"), words = label.textContent;
    let text = link;
    try {
      if (kind !== "link") {
        if (last - first >= COPIED || !(await this.fetchLines(first - 1, Math.min(last, this.lines.count)))) throw new RangeError();
        text = this.text(this.chosen);
      }
      if (kind === "markdown") {
        const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map((match) => match[0].length)), fence = "`".repeat(longest + 1);
        const name = this.stream.slice(this.stream.indexOf("/") + 1);
        text = `[${this.words.name} ${name}:${first}${last > first ? `–${last}` : ""}](${link})\n\n${fence}text\n${text}\n${fence}\n`;
      }
      await navigator.clipboard.writeText(text);
      label.textContent = this.words.copiedSaid;
    } catch (problem) {
      label.textContent = problem instanceof RangeError ? this.words.tooManySaid : this.words.notCopiedSaid; // it stands in the address bar
    }
    menu.open = false;
    setTimeout(() => (label.textContent = words), 1600);
  }

  follow() {
    this.chosen = null;
    this.going = null;
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
      l: () => this.part("places").showModal(),
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
