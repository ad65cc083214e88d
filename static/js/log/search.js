// Finding in a log: in the bytes that are here as they come, and on the server in what is in front of them.
import { ask, errors, Find, literal, regular } from "./find.js";
import { count, say } from "./words.js";

const TYPED = 250; // ms without a key before the server searches
const MOST_HITS = 1000; // marked in a line

export class Search {
  constructor(log) {
    this.log = log;
    this.query = "";
    this.regex = this.sameCase = false;
    this.current = undefined; // the byte of the match that was gone to
    this.find = this.far = null;
    this.listen();
  }

  listen() {
    const { log } = this;
    for (const [name, option] of [["regex", "regex"], ["case", "sameCase"]]) {
      log.on(log.part(name), "click", ({ currentTarget }) => {
        this[option] = !this[option];
        currentTarget.setAttribute("aria-pressed", this[option]);
        this.for(this.query);
      });
    }
    log.on(log.part("find"), "input", ({ target }) => this.for(target.value));
    log.on(log.part("find"), "keydown", (event) => {
      if (event.key === "Enter") this.next(event.shiftKey ? -1 : 1);
      else if (event.key === "Escape") {
        event.target.value = "";
        this.for("");
        log.port.focus();
      } else return;
      event.preventDefault();
    });
  }

  // Search for what was typed, from the beginning; for "" stop searching.
  for(query) {
    const { log } = this;
    this.query = query;
    this.current = undefined;
    this.searching?.abort();
    clearTimeout(this.typed);
    this.find = this.far = null;
    this.wrong = false; // what was typed is no regular expression
    if (query) {
      try {
        const wanted = this.regex ? regular(query, this.sameCase) : literal(query, this.sameCase);
        this.find = new Find(log.lines, wanted, () => this.found());
        if (this.find.from > 0) this.typed = setTimeout(() => this.searchFar(), TYPED);
      } catch {
        this.wrong = true;
      }
    }
    log.part("find").setAttribute("aria-invalid", this.wrong);
    this.fresh = Boolean(this.find);
    this.found();
    this.find?.scan();
    log.view.redress();
  }

  // Search on the server what is in front of the bytes that are searched here.
  async searchFar() {
    const { log } = this, leave = (this.searching = new AbortController());
    const facts = { search: this.query, from: 0, to: this.find.from, ...(this.regex && { regex: 1 }), ...(this.sameCase && { case: 1 }) };
    const far = (this.far = { offsets: [], count: 0, done: false });
    try {
      await ask(log.questions, facts, leave.signal, (heard) => {
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
    if (far.stopped && this.far === far) log.note(log.words.stoppedSaid);
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

  // Say how many there are, and go to the first of a search that has just begun.
  found() {
    const { log, matches, far, find } = this, place = log.part("found");
    if (!find) {
      place.textContent = this.wrong ? log.words.wrongSaid : "";
      return;
    }
    const busy = find.to < log.lines.end || (find.from > 0 && !far?.done && !far?.stopped);
    if (this.fresh && matches && this.current === undefined && (find.offsets.length || !busy)) {
      const start = log.lines.start(Math.max(0, log.view.first));
      this.fresh = false;
      this.jump(this.match(start === null ? 0 : this.matchAfter(start)) ?? this.match(0));
      return;
    }
    const number = this.current === undefined ? 0 : this.matchAfter(this.current) + 1;
    const total = find.offsets.length + (far?.count ?? 0), more = find.more || far?.stopped || (busy && find.from > 0);
    const facts = { number: count.format(number), count: count.format(total) + (more ? "+" : "") };
    place.textContent = say(matches ? log.words.foundSaid : busy ? log.words.searchingSaid : log.words.noneSaid, facts);
  }

  async jump(offset) {
    this.current = offset;
    await this.log.showByte(offset);
    this.log.view.redress();
    this.found();
  }

  next(by) {
    const { matches } = this;
    if (!matches) return;
    const at = this.current === undefined ? (by > 0 ? -1 : 0) : this.matchAfter(this.current);
    this.jump(this.match((at + by + matches) % matches));
  }

  // Whether a line is the one that was gone to.
  isAt(index) {
    return Boolean(this.find) && this.current !== undefined && this.log.lines.at(this.current) === index;
  }

  // Return where in a line's text it is, as [[start, end], …].
  hits(text) {
    if (this.regex) {
      try {
        return [...text.matchAll(new RegExp(this.query, this.sameCase ? "g" : "gi"))].filter((match) => match[0]).slice(0, MOST_HITS).map((match) => [match.index, match.index + match[0].length]);
      } catch {
        return [];
      }
    }
    const low = (words) => (this.sameCase ? words : words.replace(/[A-Z]/g, (c) => c.toLowerCase()));
    const wanted = low(this.query), all = low(text), hits = [];
    for (let at = all.indexOf(wanted); at >= 0 && hits.length < MOST_HITS; at = all.indexOf(wanted, at + wanted.length)) hits.push([at, at + wanted.length]);
    return hits;
  }
}

// Return the byte of the first line at or after byte `start` that looks like an error; null where there is none.
export async function errorFrom(log, start) {
  const { lines } = log, solid = lines.solid;
  if (start < solid) {
    let found = null;
    const asked = ask(log.questions, { errors: 1, from: start, to: solid, most: 1 }, log.leave.signal, ({ at }) => (found ??= at?.[0]?.[0] ?? null));
    await asked.catch(() => log.note(log.words.stoppedSaid));
    if (found !== null) return found;
  }
  const find = new Find(lines, errors(), undefined, Math.max(start, solid));
  await find.scan();
  return find.offsets[0] ?? null;
}
