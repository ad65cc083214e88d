// What of a log is not here yet: blocks of it, and the times at which its bytes came.
import { BLOCK } from "./lines.js";

const AT_ONCE = 4; // requests on their way
const TOGETHER = 8; // blocks of a request, where they adjoin
const AHEAD = 2; // blocks before and behind what is in sight
const MOST = 384; // blocks that are loaded for what is asked of many lines
const FRESH = 3000; // ms that the times of a block that still grows are good for
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 1 });
const seconds = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

// Numbers of blocks as [first, last] of those that adjoin, TOGETHER at most.
function runs(blocks) {
  const found = [];
  for (const block of [...blocks].sort((a, b) => a - b)) {
    const run = found.at(-1);
    if (run && block <= run[1] + 1 && block - run[0] < TOGETHER) run[1] = block;
    else found.push([block, block]);
  }
  return found;
}

export class Blocks {
  constructor(log) {
    this.log = log;
    this.coming = new Map(); // block → promise
    this.reset();
  }

  reset() {
    this.coming.clear();
    this.turn = {}; // what was asked for before is not of this log
    this.marks = new Map(); // block → [[time, byte], …]
    this.arrivals = { offsets: [], times: [] };
  }

  // Load blocks of the log, and with `timed` the times of those.
  want(blocks, timed) {
    for (const [first, last] of runs(blocks)) this.load(first, last);
    for (const block of timed || []) this.loadMarks(block);
  }

  // Load what adjoins the lines first … last - 1: whoever reads there goes on to it.
  ahead(first, last) {
    const { lines } = this.log, wanted = [];
    for (const block of this.of(first, last)) {
      for (let near = block - AHEAD; near <= block + AHEAD; near++) {
        if (near >= 0 && near * BLOCK < lines.end && !lines.blocks.has(near) && !this.coming.has(near)) wanted.push(near);
      }
    }
    this.want(wanted);
  }

  // Load the blocks first … last; resolves when they are here, or cannot be.
  async load(first, last = first) {
    const { log, coming } = this, { lines, view } = log;
    const there = (block) => lines.blocks.has(block) || coming.has(block);
    while (first < last && there(first)) first++;
    while (last > first && there(last)) last--;
    if (lines.blocks.has(first)) return;
    if (coming.has(first)) return coming.get(first);
    if (new Set(coming.values()).size >= AT_ONCE) return Promise.race(coming.values()).then(() => view.draw());
    const mine = this.fetch(first, last).finally(() => {
      for (let block = first; block <= last; block++) if (coming.get(block) === mine) coming.delete(block);
    });
    for (let block = first; block <= last; block++) coming.set(block, mine);
    return mine;
  }

  async fetch(first, last) {
    const { log, turn } = this, { lines, view } = log;
    const from = first * BLOCK, to = Math.min((last + 1) * BLOCK, lines.end);
    try {
      const answer = await fetch(log.file, { headers: { Range: `bytes=${from}-${to - 1}` }, signal: log.leave.signal });
      if (answer.status !== 206 && !(answer.status === 200 && from === 0)) throw new Error(String(answer.status));
      const bytes = new Uint8Array(await answer.arrayBuffer()).subarray(0, to - from);
      if (bytes.length !== to - from) throw new Error("short");
      if (this.turn !== turn) return; // another log's by now
      for (let block = first; block <= last; block++) lines.put(block, bytes.slice(block * BLOCK - from, (block + 1) * BLOCK - from));
      view.draw();
    } catch (problem) {
      if (problem.name === "AbortError") return;
      log.note(log.words.earlierFailed);
      await new Promise((go) => setTimeout(go, 2000));
    }
  }

  // Make sure of the lines first … last - 1; false where that cannot be.
  async loadLines(first, last) {
    for (let tries = 0; tries < 200; tries++) {
      const missing = this.log.lines.missing(first, last);
      if (!missing.length) return true;
      if (missing.length > MOST) return false;
      await Promise.all(runs(missing).map((run) => this.load(...run)));
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
