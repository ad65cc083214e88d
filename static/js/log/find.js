// Searches the bytes that are loaded, a slice at a time, so that the page never stands still.
const SLICE = 1 << 20;
const PAUSE_AFTER = 8; // ms of work between two breaths
const ENOUGH = 100_000;
const bytewise = new TextDecoder("windows-1252"); // one character a byte: offsets stay what they are

// What people type, found whatever the case of its ASCII letters.
export function literal(query) {
  const bytes = new TextEncoder().encode(query);
  const source = [...bytewise.decode(bytes)].map((c) => (/[a-z]/i.test(c) ? `[${c.toLowerCase()}${c.toUpperCase()}]` : c.replace(/[\\^$.*+?()[\]{}|/-]/, "\\$&")));
  return { pattern: new RegExp(source.join(""), "g"), longest: bytes.length };
}

export const errors = () => ({
  pattern: /\b(?:[A-Z]\w*(?:Error|Exception)|ERROR|Error|error:|CRITICAL|FATAL|Fatal|fatal:|FAILED|Traceback|panic:)\b/g,
  longest: 64,
});

export class Find {
  constructor(lines, { pattern, longest }, changed) {
    Object.assign(this, { lines, pattern, longest, changed, running: null });
    this.again();
  }

  again() {
    this.from = this.to = this.lines.from;
    this.offsets = []; // of the matches, in order
    this.more = false; // there are more than are kept
  }

  // Search what has come since; resolves when all that is loaded has been searched.
  scan() {
    this.running ??= this.work().finally(() => (this.running = null));
    return this.running;
  }

  async work() {
    let rest = performance.now() + PAUSE_AFTER;
    for (;;) {
      if (this.from !== this.lines.from) this.again(); // earlier bytes were loaded, or the log began anew
      if (this.to >= this.lines.end) break;
      const start = Math.max(this.lines.from, this.to - this.longest + 1), stop = Math.min(this.lines.end, this.to + SLICE);
      const text = bytewise.decode(this.lines.read(start, stop));
      for (const match of text.matchAll(this.pattern)) {
        if (start + match.index + match[0].length <= this.to) continue; // found before
        if (this.offsets.length < ENOUGH) this.offsets.push(start + match.index);
        else this.more = true;
      }
      this.to = stop;
      if (performance.now() > rest) {
        this.changed?.();
        await new Promise((go) => setTimeout(go));
        rest = performance.now() + PAUSE_AFTER;
      }
    }
    this.changed?.();
  }

  // Return the number of the first match at or after byte `offset`.
  after(offset) {
    let low = 0, high = this.offsets.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.offsets[middle] < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
