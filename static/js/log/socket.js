// The socket that brings a log: it goes on from the page's own byte after every cut, and says how far the page has come.
const FIRST_WAIT = 100, LONGEST_WAIT = 10_000; // ms before connecting again
const SAY_EVERY = 512 * 1024; // bytes
const LEFT = [4401, 4403]; // signed out, removed

const { address, take } = globalThis.logAhead; // of ./early.js

export class LogSocket {
  // `hears` has told(control), came(bytes), block(number, bytes), state(word), `end`, the byte to go on from, or null at
  // first, `seek`, the line that it wants first, or null, and `uncounted`, the byte in front of which the lines are not known.
  constructor(address, stream, hears) {
    Object.assign(this, { address, stream, hears, wait: FIRST_WAIT, over: false, unsaid: 0 });
    this.connect();
  }

  connect() {
    const { end, seek, uncounted } = this.hears;
    const from = end === null ? seek && { line: seek } : { after: end, ...(uncounted && { uncounted }) };
    const url = address(this.address, { stream: this.stream, ...from });
    const ahead = take(url);
    const socket = ahead?.socket ?? new WebSocket(url);
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    let block = null; // of which the next bytes are
    socket.onmessage = ({ data }) => {
      if (this.socket !== socket) return;
      if (typeof data === "string") {
        const told = JSON.parse(data);
        this.wait = FIRST_WAIT;
        if ("block" in told) ({ block } = told);
        else this.hears.told(told);
        return;
      }
      if (block !== null) {
        this.hears.block(block, new Uint8Array(data));
        block = null;
        return;
      }
      this.hears.came(new Uint8Array(data));
      this.unsaid += data.byteLength;
      if (this.unsaid >= SAY_EVERY) {
        socket.send(JSON.stringify({ at: this.hears.end }));
        this.unsaid = 0;
      }
    };
    socket.onclose = ({ code }) => {
      if (this.over || this.socket !== socket) return;
      if (LEFT.includes(code)) {
        this.hears.state("removed");
        return;
      }
      if (this.hears.complete) return;
      this.hears.state("reconnecting");
      this.timer = setTimeout(() => this.connect(), this.wait * (0.75 + Math.random() / 2));
      this.wait = Math.min(LONGEST_WAIT, this.wait * 2);
    };
    if (ahead) queueMicrotask(() => ahead.early.forEach((message) => socket.onmessage(message))); // once `hears` has it
  }

  close() {
    this.over = true;
    clearTimeout(this.timer);
    this.socket.close();
  }
}
