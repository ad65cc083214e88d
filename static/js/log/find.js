// Searches the bytes that are loaded, a slice at a time, so that the page never stands still.
const SLICE = 1 << 20;
const PAUSE_AFTER = 8; // ms of work between two breaths
const ENOUGH = 100_000;
const bytewise = new TextDecoder("windows-1252"); // one character a byte: offsets stay what they are

// What people type, found whatever the case of its ASCII letters.
export function literal(query, sameCase) {
  const bytes = new TextEncoder().encode(query);
  const source = [...bytewise.decode(bytes)].map((c) => (!sameCase && /[a-z]/i.test(c) ? `[${c.toLowerCase()}${c.toUpperCase()}]` : c.replace(/[\\^$.*+?()[\]{}|/-]/, "\\$&")));
  return { pattern: new RegExp(source.join(""), "g"), longest: bytes.length };
}

// What people type as a regular expression, over bytes as the server does it. Throws SyntaxError.
export function regular(query, sameCase) {
  const source = bytewise.decode(new TextEncoder().encode(query));
  return { pattern: new RegExp(source, sameCase ? "gm" : "gim"), longest: 64 * 1024 };
}

export const errors = () => ({
  pattern: /\b(?:[A-Z]\w*(?:Error|Exception)|ERROR|Error|Exception|CRITICAL|FATAL|Fatal|FAILED|Traceback)\b|\b(?:error|fatal|panic):/g,
  longest: 64,
});

// Ask the server for what it finds, object by object; `heard` is called with each.
export async function ask(address, facts, signal, heard) {
  const answer = await fetch(`${address}?${new URLSearchParams(facts)}`, { signal });
  if (!answer.ok) throw new Error(String(answer.status));
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) heard(JSON.parse(line));
  }
}

export class Find {
  // `from`: the first byte that is searched.
  constructor(lines, { pattern, longest }, changed, from = lines.solid) {
    Object.assign(this, { lines, pattern, longest, changed, from, running: null });
    this.again();
  }

  again() {
    this.to = this.from = Math.min(this.from, this.lines.end);
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
      if (this.to >= this.lines.end) break;
      if (this.to < this.lines.solid) { // it came faster than it could be searched
        this.to = this.lines.solid;
        this.more = true;
      }
      const start = Math.max(this.from, this.lines.solid, this.to - this.longest + 1), stop = Math.min(this.lines.end, this.to + SLICE);
      const text = bytewise.decode(this.lines.read(start, stop));
      for (const match of text.matchAll(this.pattern)) {
        if (!match[0] || start + match.index + match[0].length <= this.to) continue; // found before
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
