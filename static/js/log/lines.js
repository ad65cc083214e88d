// The bytes of a log as they came, and where its lines begin. Offsets are those of the file.
const BLOCK = 1 << 20;
const NEWLINE = 10;

export class Lines {
  constructor() {
    this.reset(0);
  }

  // Begin anew at byte `from`.
  reset(from) {
    this.from = this.end = from;
    this.before = from === 0 ? 0 : null; // lines that end before `from`; null: not counted yet
    this.blocks = []; // {start, bytes, used}, in order and without gaps
    this.starts = new Float64Array(1024); // the first is `from`, be it the middle of a line
    this.starts[0] = from;
    this.known = 1;
  }

  get count() {
    return this.starts[this.known - 1] < this.end ? this.known : this.known - 1;
  }

  append(bytes) {
    for (let p = bytes.indexOf(NEWLINE); p >= 0; p = bytes.indexOf(NEWLINE, p + 1)) {
      if (this.known === this.starts.length) {
        const larger = new Float64Array(this.known * 2);
        larger.set(this.starts);
        this.starts = larger;
      }
      this.starts[this.known++] = this.end + p + 1;
    }
    while (bytes.length) {
      let block = this.blocks.at(-1);
      if (!block || block.used === block.bytes.length) {
        block = { start: this.end, bytes: new Uint8Array(BLOCK), used: 0 };
        this.blocks.push(block);
      }
      const piece = bytes.subarray(0, block.bytes.length - block.used);
      block.bytes.set(piece, block.used);
      block.used += piece.length;
      this.end += piece.length;
      bytes = bytes.subarray(piece.length);
    }
  }

  // Put the bytes right before `from` in front; return how many lines that adds.
  prepend(bytes) {
    const start = this.from - bytes.length;
    const starts = [start];
    for (let p = bytes.indexOf(NEWLINE); p >= 0; p = bytes.indexOf(NEWLINE, p + 1)) starts.push(start + p + 1);
    const all = new Float64Array((starts.length + this.known) * 1.2);
    all.set(starts);
    all.set(this.starts.subarray(1, this.known), starts.length); // the old first was a guess
    this.starts = all;
    this.known += starts.length - 1;
    this.from = start;
    this.blocks.unshift({ start, bytes, used: bytes.length });
    if (start === 0) this.before = 0;
    else if (this.before !== null) this.before -= starts.length - 1;
    return starts.length - 1;
  }

  // Return [first byte, byte after the last] of line `index`, without its newline.
  range(index) {
    const next = index + 1 < this.known ? this.starts[index + 1] - 1 : this.end;
    return [this.starts[index], next];
  }

  // Return the index of the line that holds byte `offset`.
  at(offset) {
    let low = 0, high = this.known - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  read(start, stop) {
    const bytes = new Uint8Array(Math.max(0, stop - start));
    let low = 0, high = this.blocks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.blocks[middle].start <= start) low = middle;
      else high = middle - 1;
    }
    for (let done = 0; done < bytes.length && low < this.blocks.length; low++) {
      const block = this.blocks[low];
      const at = start + done - block.start;
      const piece = block.bytes.subarray(at, Math.min(block.used, at + bytes.length - done));
      bytes.set(piece, done);
      done += piece.length;
    }
    return bytes;
  }
}
