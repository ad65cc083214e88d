// The bytes of a log and where its lines begin, in blocks that may be missing: a page holds what is looked at.
// Offsets are those of the file. A line is known by its index: its number less one, once the lines in front are counted.
export const BLOCK = 1 << 17; // bytes; the server counts the lines of each
const MOST = 512; // blocks held
export const ENDS = 64 * 1024; // bytes of a long line that are looked at, at either end
const NEWLINE = 10, ESCAPE = 27;

export class Lines {
  constructor() {
    this.reset(0);
  }

  // Begin anew at byte `from`, a multiple of BLOCK.
  reset(from) {
    this.end = from;
    this.origin = this.began = from / BLOCK; // the first block that has an index; the first that came by itself
    this.blocks = new Map(); // number → {bytes, used, newlines, touched}
    this.counts = []; // by block: newlines between the origin and its beginning
    this.counts[this.origin] = 0;
    this.total = 0; // newlines from the origin to the end
    this.last = NEWLINE; // the last byte
    this.moment = 0;
    this.coloured = false;
  }

  // Whether lines have their numbers.
  get numbered() {
    return this.origin === 0;
  }

  get from() {
    return this.origin * BLOCK;
  }

  get count() {
    return this.total + (this.last === NEWLINE ? 0 : 1);
  }

  // The first byte from which on all are here.
  get solid() {
    let block = Math.floor(this.end / BLOCK);
    if (!this.blocks.has(block) && this.end > block * BLOCK) return this.end;
    while (block > 0 && this.blocks.has(block - 1)) block--;
    return block * BLOCK;
  }

  append(bytes) {
    if (bytes.length) this.last = bytes[bytes.length - 1];
    this.coloured ||= bytes.indexOf(ESCAPE) >= 0;
    while (bytes.length) {
      const number = Math.floor(this.end / BLOCK), at = this.end - number * BLOCK;
      let block = this.blocks.get(number);
      if (!block) {
        block = { bytes: new Uint8Array(BLOCK), used: at, newlines: [] };
        this.blocks.set(number, block);
        if (this.blocks.size > MOST) this.drop(number);
      }
      const piece = bytes.subarray(0, BLOCK - at);
      block.bytes.set(piece, at);
      block.used = at + piece.length;
      block.touched = ++this.moment;
      const { newlines } = block, before = newlines.length;
      for (let p = piece.indexOf(NEWLINE); p >= 0; p = piece.indexOf(NEWLINE, p + 1)) newlines.push(at + p);
      this.total += newlines.length - before;
      this.end += piece.length;
      if (block.used === BLOCK) {
        block.newlines = Uint32Array.from(newlines);
        this.counts[number + 1] = this.total;
      }
      bytes = bytes.subarray(piece.length);
    }
  }

  // Go on at byte `to`: what lies between was left out, and reads as zeros.
  skip(to) {
    if (to === this.end) return;
    const old = this.blocks.get(Math.floor(this.end / BLOCK)), number = Math.floor(to / BLOCK);
    if (old) Object.assign(old, { used: BLOCK, newlines: Uint32Array.from(old.newlines) });
    for (let block = Math.floor(this.end / BLOCK) + 1; block <= number; block++) this.counts[block] = this.total;
    if (to > number * BLOCK && !this.blocks.has(number)) {
      this.blocks.set(number, { bytes: new Uint8Array(BLOCK), used: to - number * BLOCK, newlines: [], touched: ++this.moment });
    }
    const grows = this.blocks.get(number);
    if (grows) Object.assign(grows, { used: to - number * BLOCK, newlines: [...grows.newlines] });
    this.last = 0;
    this.end = to;
  }

  // Take how many lines end in each block in front; return how many lines that adds.
  number(lines) {
    let added = 0;
    for (let block = 0; block < this.origin; block++) {
      const before = added;
      added += lines[block];
      this.counts[block] = before;
    }
    for (let block = this.origin; block < this.counts.length; block++) this.counts[block] += added;
    this.total += added;
    this.origin = 0;
    return added;
  }

  // Put a block where it belongs.
  put(number, bytes) {
    if (this.blocks.has(number)) return;
    const newlines = [];
    for (let p = bytes.indexOf(NEWLINE); p >= 0; p = bytes.indexOf(NEWLINE, p + 1)) newlines.push(p);
    this.coloured ||= bytes.indexOf(ESCAPE) >= 0;
    this.blocks.set(number, { bytes, used: bytes.length, newlines: Uint32Array.from(newlines), touched: ++this.moment });
    if (this.blocks.size > MOST) this.drop(number);
  }

  // Forget the block that nobody looked at for longest; never the one that grows.
  drop(but) {
    const growing = Math.floor(this.end / BLOCK);
    let oldest = null;
    for (const [number, block] of this.blocks) {
      if (number !== growing && number !== but && (oldest === null || block.touched < this.blocks.get(oldest).touched)) oldest = number;
    }
    if (oldest !== null) this.blocks.delete(oldest);
  }

  touch(number) {
    const block = this.blocks.get(number);
    if (block) block.touched = ++this.moment;
    return block;
  }

  // Return the number of the block that holds newline `which`, the first being 1.
  blockOf(which) {
    let low = this.origin, high = this.counts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.counts[middle] < which) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  // Return the offset of newline `which`, or null where its block is missing.
  newline(which) {
    const number = this.blockOf(which), block = this.touch(number);
    const at = block?.newlines[which - this.counts[number] - 1]; // none where it was counted, and left out since
    return at === undefined ? null : number * BLOCK + at;
  }

  // Return the first byte of line `index`, or null where that is not known.
  start(index) {
    if (index === 0) return this.from;
    const newline = this.newline(index);
    return newline === null ? null : newline + 1;
  }

  // Return [first byte, byte after the last] of line `index`, without its newline, or null while parts are missing.
  range(index) {
    const start = this.start(index), stop = index < this.total ? this.newline(index + 1) : this.end;
    if (start === null || stop === null) return null;
    return this.looked(start, stop).every((offset) => this.has(offset)) ? [start, stop] : null;
  }

  // Return one offset of each block that it takes to show a line: of a long one, its ends are looked at.
  looked(start, stop) {
    const last = Math.max(start, stop - 1);
    return [start, Math.min(last, start + ENDS), Math.max(start, stop - ENDS), last];
  }

  has(offset) {
    return offset >= this.end || Boolean(this.touch(Math.floor(offset / BLOCK)));
  }

  // Return the blocks that are missing for lines first … last - 1.
  missing(first, last) {
    const wanted = new Set(), ask = (number) => number * BLOCK < this.end && !this.blocks.has(number) && wanted.add(number);
    for (let index = first; index < last; index++) {
      const before = index === 0 ? this.origin : this.blockOf(index);
      ask(before);
      ask(index < this.total ? this.blockOf(index + 1) : Math.floor(Math.max(0, this.end - 1) / BLOCK));
      const start = this.start(index), stop = index < this.total ? this.newline(index + 1) : this.end;
      if (start !== null && stop !== null) for (const offset of this.looked(start, stop)) ask(Math.floor(offset / BLOCK));
    }
    return [...wanted];
  }

  // Return the index of the line that holds byte `offset`, or null where its block is missing.
  at(offset) {
    const number = Math.floor(offset / BLOCK), block = this.blocks.get(number);
    if (this.counts[number] === undefined || (!block && number * BLOCK < this.end)) return null;
    const inside = offset - number * BLOCK, newlines = block?.newlines ?? [];
    let low = 0, high = newlines.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (newlines[middle] < inside) low = middle + 1;
      else high = middle;
    }
    return this.counts[number] + low;
  }

  // Return the bytes start … stop - 1; where a block is missing, zeros.
  read(start, stop) {
    const bytes = new Uint8Array(Math.max(0, stop - start));
    for (let done = 0; done < bytes.length; ) {
      const number = Math.floor((start + done) / BLOCK), at = start + done - number * BLOCK;
      const length = Math.min(BLOCK - at, bytes.length - done), block = this.blocks.get(number);
      if (block) bytes.set(block.bytes.subarray(at, Math.min(block.used, at + length)), done);
      done += length;
    }
    return bytes;
  }
}
