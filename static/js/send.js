// Sends the files of an upload: hashed here first, then only what the studio has not, in pieces, going on after a cut.

const PIECE = 4 * 1024 * 1024; // bytes
const STALLED = 30_000; // ms without a byte: as good as cut
const WAITS = [500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000]; // ms between tries; then it is given up
const AT_ONCE = 4; // files that are hashed

const hashes = new WeakMap(); // File → its SHA-256. A file that changes on the disk can no longer be read through it.

class Cut extends Error {} // the connection, or the server behind it, is gone for now

// The studio answered, and not with what was wanted: `errors` is by field, as the form's own.
export class Refused extends Error {
  constructor(answer) {
    super(`The studio answered ${answer.status}.`);
    this.status = answer.status;
    this.errors = answer.said?.errors;
  }
}

// A chosen file cannot be read any more.
export class Unreadable extends Error {
  constructor(path) {
    super(path);
    this.path = path;
  }
}

// Browsers hash for pages that came over TLS or from this computer.
export const canHash = () => isSecureContext && Boolean(globalThis.crypto?.subtle);

function ask(method, address, { token, body = null, type = "application/octet-stream", signal, sent = () => {} }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    let watch = 0;
    const cut = () => reject(new Cut());
    const alive = () => {
      clearTimeout(watch);
      watch = setTimeout(() => request.abort(), STALLED);
    };
    const stop = () => request.abort();
    signal?.throwIfAborted();
    signal?.addEventListener("abort", stop, { once: true });
    request.open(method, address);
    request.responseType = "json";
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("X-CSRFToken", token);
    if (body !== null) request.setRequestHeader("Content-Type", type);
    request.upload.onprogress = (event) => {
      alive();
      sent(event.loaded);
    };
    request.onload = () => resolve({ status: request.status, said: request.response });
    request.onerror = cut;
    request.onabort = () => (signal?.aborted ? reject(signal.reason) : cut());
    request.onloadend = () => {
      clearTimeout(watch);
      signal?.removeEventListener("abort", stop);
    };
    alive();
    request.send(body);
  });
}

// Wait, less when the browser says that it is connected again.
function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const over = () => {
      clearTimeout(timer);
      removeEventListener("online", over);
      signal.removeEventListener("abort", stop);
      resolve();
    };
    const stop = () => {
      over();
      reject(signal.reason);
    };
    const timer = setTimeout(over, ms);
    addEventListener("online", over);
    signal.addEventListener("abort", stop);
  });
}

async function hashOf(file, path) {
  if (hashes.has(file)) return hashes.get(file);
  let bytes;
  try {
    bytes = await file.arrayBuffer();
  } catch {
    throw new Unreadable(path);
  }
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const hash = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  hashes.set(file, hash);
  return hash;
}

// Returns [{path, sha256, size}] of the files, in their order.
async function listed(files, told, signal) {
  const all = files.reduce((sum, { file }) => sum + file.size, 0);
  const list = new Array(files.length);
  let next = 0, done = 0;
  const work = async () => {
    while (next < files.length) {
      signal.throwIfAborted();
      const at = next;
      next += 1;
      const { file, path } = files[at];
      list[at] = { path, sha256: await hashOf(file, path), size: file.size };
      done += file.size;
      told("hashing", done, all);
    }
  };
  told("hashing", 0, all);
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return list;
}

// One request, repeated with growing pauses while the connection is cut or the server is not up.
async function persist(attempt, signal, cut) {
  for (let tries = 0; ; tries += 1) {
    try {
      const answer = await attempt(tries);
      if (answer.status >= 500 || answer.status === 429 || answer.status === 0) throw new Cut();
      return answer;
    } catch (problem) {
      if (!(problem instanceof Cut) || tries >= WAITS.length) throw problem;
      cut();
      await pause(WAITS[tries], signal);
    }
  }
}

// Send `files` ([{file, path}]) to the uploads at `address`, and return the upload's id. `texts` are read by the studio
// before anything is sent: its ignore file and what git says. `told(phase, done, all)` hears how far it is, in bytes.
export async function sendFiles({ address, token, files, texts, told, signal }) {
  const list = await listed(files, told, signal);
  const said = {};
  for (const { file, path } of texts) said[path] = await file.text();
  const body = JSON.stringify({ files: list, texts: said });
  const begin = () => ask("POST", address, { token, body, type: "application/json", signal });
  const begun = await persist(begin, signal, () => told("waiting", 0, 0));
  if (begun.status !== 200 || !begun.said?.id) throw new Refused(begun);
  const { id, missing, size } = begun.said;
  const own = `${address}${id}/`;
  const byHash = new Map(list.map(({ sha256 }, at) => [sha256, files[at].file]));
  const textByHash = missing.some((hash) => !byHash.has(hash)) ? await hashed(texts) : new Map();
  const stream = new Blob(missing.map((hash) => byHash.get(hash) ?? textByHash.get(hash))); // nothing is copied
  let received = begun.said.received;
  const next = async (tries) => {
    if (tries) {
      const where = await ask("GET", own, { token, signal });
      if (where.status !== 200) return where;
      received = where.said.received;
      if (received >= size) return where;
    }
    const from = received;
    told("sending", from, size);
    const answer = await ask("PUT", `${own}?offset=${from}`, {
      token, signal, body: stream.slice(from, from + PIECE), sent: (n) => told("sending", from + n, size),
    });
    if (answer.status === 409 && answer.said?.received !== undefined) throw new Cut(); // ask where it is, and go on there
    return answer;
  };
  while (received < size) {
    const answer = await persist(next, signal, () => told("waiting", received, size));
    if (answer.status !== 200 || !(answer.said?.received > 0)) throw new Refused(answer);
    received = answer.said.received;
  }
  told("sending", size, size);
  return id;
}

async function hashed(texts) {
  return new Map(await Promise.all(texts.map(async ({ file, path }) => [await hashOf(file, path), file])));
}
