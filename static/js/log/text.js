// What a line's bytes say: the last state of a progress bar, colours of escape sequences, marks for what is invisible.
import { ENDS as MOST } from "./lines.js";

const RETURN = 13;
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true }); // what is no UTF-8 becomes U+FFFD

// Colour sequences (CSI … m) are obeyed; all others, titles and links of terminals among them, are dropped.
const SPECIAL = new RegExp(
  [
    "\\x1b\\[([0-?]*)[ -/]*([@-~]?)", // CSI
    "\\x1b\\][^\\x07\\x1b]*(?:\\x07|\\x1b\\\\)?", // OSC
    "\\x1b[PX^_][^\\x1b]*(?:\\x1b\\\\)?", // DCS, SOS, PM, APC
    "\\x1b[ -/]*[0-~]",
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u061c\\u200b-\\u200f\\u202a-\\u202e\\u2060\\u2066-\\u2069\\ufeff]",
  ].join("|"),
  "g",
);

const LOOKS = /\x1b\[([0-?]*)[ -/]*m/g;

// Return {bytes, states, cut}: the last state of a line rewritten by \r, how many states it had, how many bytes are left out.
export function lastState(lines, index) {
  const [start, stop] = lines.range(index);
  let bytes = lines.read(Math.max(start, stop - MOST), stop);
  let end = bytes.length;
  while (end && bytes[end - 1] === RETURN) end--;
  const last = bytes.lastIndexOf(RETURN, end - 1);
  if (end && last >= 0) return { bytes: bytes.subarray(last + 1, end), states: statesIn(bytes.subarray(0, end)).length, cut: 0 };
  if (stop - start <= MOST) return { bytes: bytes.subarray(0, end), states: 1, cut: 0 };
  bytes = lines.read(start, start + MOST / 4); // one line of megabytes: its beginning
  return { bytes, states: 1, cut: stop - start - bytes.length };
}

// Return every state of a line, first to last, as far back as is looked at.
export function allStates(lines, index) {
  const [start, stop] = lines.range(index);
  return statesIn(lines.read(Math.max(start, stop - MOST), stop)).map((bytes) => utf8.decode(bytes));
}

function statesIn(bytes) {
  const states = [];
  for (let at = 0; at < bytes.length; ) {
    let next = bytes.indexOf(RETURN, at);
    if (next < 0) next = bytes.length;
    if (next > at) states.push(bytes.subarray(at, next));
    at = next + 1;
  }
  return states;
}

export const decode = (bytes) => utf8.decode(bytes);

// Return [{text, look, mark}]: pieces of one look each. `mark`: a sign for something that cannot be seen.
export function pieces(text, look = {}) {
  const found = [];
  let at = 0;
  for (const match of text.matchAll(SPECIAL)) {
    if (match.index > at) found.push({ text: text.slice(at, match.index), look });
    at = match.index + match[0].length;
    if (match[2] === "m") look = obey(look, match[1]);
    else if (match[0].length === 1) found.push({ text: sign(match[0].charCodeAt(0)), look, mark: true });
  }
  if (at < text.length) found.push({ text: text.slice(at), look });
  return found;
}

// Return the look that text after `text` has: colours go on until they are switched off, across lines too.
export function lookAfter(text, look) {
  for (const [, parameters] of text.matchAll(LOOKS)) look = obey(look, parameters);
  return look;
}

export const plain = (text) => pieces(text).map((piece) => piece.text).join("");

function sign(code) {
  if (code < 0x20) return `^${String.fromCharCode(code + 64)}`;
  return code === 0x7f ? "^?" : `U+${code.toString(16).toUpperCase().padStart(4, "0")}`;
}

const ON = { 1: "bold", 2: "dim", 3: "italic", 4: "under", 7: "inverse", 9: "struck" };
const OFF = { 22: ["bold", "dim"], 23: ["italic"], 24: ["under"], 27: ["inverse"], 29: ["struck"], 39: ["fg"], 49: ["bg"] };

function obey(old, parameters) {
  if (/[<-?]/.test(parameters)) return old; // private: not about looks
  let look = { ...old };
  const codes = parameters.split(/[;:]/).map((code) => (code === "" ? 0 : Number(code)));
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i];
    if (code === 0) look = {};
    else if (ON[code]) look[ON[code]] = true;
    else if (OFF[code]) for (const name of OFF[code]) delete look[name];
    else if (code >= 30 && code <= 37) look.fg = code - 30;
    else if (code >= 40 && code <= 47) look.bg = code - 40;
    else if (code >= 90 && code <= 97) look.fg = code - 82;
    else if (code >= 100 && code <= 107) look.bg = code - 92;
    else if ((code === 38 || code === 48) && codes[i + 1] === 5) {
      look[code === 38 ? "fg" : "bg"] = indexed(codes[i + 2]);
      i += 2;
    } else if ((code === 38 || code === 48) && codes[i + 1] === 2) {
      look[code === 38 ? "fg" : "bg"] = codes.slice(i + 2, i + 5).map((part) => Math.min(255, part || 0));
      i += 4;
    }
  }
  return look;
}

// One of 256: the 16 of the theme, a cube of 6 × 6 × 6, 24 greys.
function indexed(number = 0) {
  if (number < 16) return number;
  if (number > 231) return Array(3).fill(Math.min(255, 8 + (number - 232) * 10));
  const level = (step) => (step ? 55 + step * 40 : 0);
  return [36, 6, 1].map((size) => level(Math.floor((number - 16) / size) % 6));
}

// Fill `element` with the pieces, as text alone; `hits` are [start, stop] in the text, to be marked.
export function fill(element, found, hits = []) {
  let at = 0;
  const nodes = [];
  for (const { text, look, mark } of found) {
    for (let done = 0; done < text.length; ) {
      const hit = hits.find(([, stop]) => stop > at + done);
      const inside = hit && hit[0] <= at + done;
      const until = !hit ? text.length : Math.min(text.length, (inside ? hit[1] : hit[0]) - at);
      nodes.push(dressed(text.slice(done, until), look, mark, inside));
      done = until;
    }
    at += text.length;
  }
  element.replaceChildren(...nodes);
}

function dressed(text, look, mark, hit) {
  const names = Object.keys(look);
  if (!names.length && !mark && !hit) return document.createTextNode(text);
  const node = document.createElement(hit ? "mark" : "span");
  node.textContent = text;
  if (mark) node.classList.add("log-sign");
  for (const name of names) {
    const value = look[name];
    if (value === true) node.classList.add(`log-${name}`);
    else if (typeof value === "number") node.classList.add(`log-${name}-${value}`);
    else if (name === "fg") node.style.color = rgb(look.bg === undefined ? readable(value) : value);
    else node.style.backgroundColor = rgb(value);
  }
  return node;
}

const rgb = (parts) => `rgb(${parts.join(" ")})`;

// A colour too dark for the panel, as light as it takes to be read.
function readable([red, green, blue]) {
  const light = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  return light >= 96 ? [red, green, blue] : [red, green, blue].map((part) => Math.min(255, Math.round(part + (96 - light))));
}
