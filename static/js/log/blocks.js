// What of a log is not here yet: blocks of it, and the times at which its bytes came.
import { BLOCK } from "./lines.js";

const AT_ONCE = 4; // blocks on their way
const FRESH = 3000; // ms that the times of a block that still grows are good for
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 1 });
const seconds = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export class Blocks {
  constructor(log) {
    this.log = log;
    this.coming = new Map(); // block → promise
    this.reset();
  }

  reset() {
    this.coming.clear();
    this.marks = new Map(); // block → [[time, byte], …]
    this.arrivals = { offsets: [], times: [] };
  }

  // Load blocks of the log, and with `timed` the times of those.
  want(blocks, timed) {
    for (const block of blocks) this.load(block);
    for (const block of timed || []) this.loadMarks(block);
  }

  // Load a block; resolves when it is here, or cannot be.
  load(block) {
    const { log, coming } = this, { lines, stream, view } = log;
    if (lines.blocks.has(block)) return Promise.resolve();
    if (coming.has(block)) return coming.get(block);
    if (coming.size >= AT_ONCE) return Promise.race(coming.values()).then(() => view.draw());
    const from = block * BLOCK, to = Math.min(from + BLOCK, lines.end);
    const mine = (async () => {
      try {
        const answer = await fetch(log.file, { headers: { Range: `bytes=${from}-${to - 1}` }, signal: log.leave.signal });
        if (answer.status !== 206 && !(answer.status === 200 && from === 0)) throw new Error(String(answer.status));
        const bytes = new Uint8Array(await answer.arrayBuffer()).subarray(0, to - from);
        if (bytes.length !== to - from) throw new Error("short");
        if (log.stream === stream && coming.get(block) === mine) lines.put(block, bytes);
        view.draw();
      } catch (problem) {
        if (problem.name === "AbortError") return;
        log.note(log.words.earlierFailed);
        await new Promise((go) => setTimeout(go, 2000));
      } finally {
        if (coming.get(block) === mine) coming.delete(block);
      }
    })();
    coming.set(block, mine);
    return mine;
  }

  // Make sure of the lines first … last - 1; false where that cannot be.
  async loadLines(first, last) {
    for (let tries = 0; tries < 200; tries++) {
      const missing = this.log.lines.missing(first, last);
      if (!missing.length) return true;
      if (missing.length > 48) return false;
      await Promise.all(missing.map((block) => this.load(block)));
    }
    return false;
  }

  // The blocks in which the lines first … last - 1 begin and end.
  of(first, last) {
    const found = new Set();
    for (const index of [first, last - 1]) {
      const start = index >= 0 ? this.log.lines.start(index) : null;
      if (start !== null) found.add(Math.floor(start / BLOCK));
    }
    return found;
  }

  async loadMarks(block) {
    const { log } = this, { stream } = log, old = this.marks.get(block);
    if (old && (old.whole || Date.now() - old.at < FRESH)) return;
    const stop = (block + 1) * BLOCK, entry = { whole: log.lines.end >= stop || log.ended, at: Date.now(), times: old?.times ?? [] };
    this.marks.set(block, entry);
    try {
      const answer = await fetch(`${log.questions}?times&from=${block * BLOCK}&to=${stop}`, { signal: log.leave.signal });
      if (!answer.ok || log.stream !== stream) return;
      entry.times = (await answer.json()).times;
      log.view.redress();
    } catch { /* without times, lines have none */ }
  }

  // Note that the bytes from `offset` on came now.
  came(offset) {
    const { offsets, times } = this.arrivals, now = Date.now();
    if (times.at(-1) === now) return;
    offsets.push(offset);
    times.push(now);
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
}
