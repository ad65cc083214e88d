// Takes chosen lines of a log along: a link to them, their text, or both as Markdown.
import { decode, lastState, plain } from "./text.js";

const MOST = 20_000; // lines
const SAID = 1600; // ms

// Return the text of the lines first … last, as far as they are here.
export function textOf(lines, [first, last]) {
  const parts = [];
  for (let index = Math.max(0, first - 1); index < Math.min(lines.count, last); index++) {
    if (lines.range(index)) parts.push(plain(decode(lastState(lines, index).bytes)));
  }
  return parts.join("\n");
}

function markdown(log, text, link) {
  const [first, last] = log.chosen, name = log.stream.slice(log.stream.indexOf("/") + 1);
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map((match) => match[0].length)), fence = "`".repeat(longest + 1);
  return `[${log.words.name} ${name}:${first}${last > first ? `–${last}` : ""}](${link})\n\n${fence}text\n${text}\n${fence}\n`;
}

// Copy the chosen lines as `kind`: "link", "text" or "markdown".
export async function copyLines(log, kind) {
  const [first, last] = log.chosen, link = new URL(log.linkTo(log.chosen), location.href).href;
  const label = log.part("copy-said"), words = label.textContent;
  let text = link;
  try {
    if (kind !== "link") {
      if (last - first >= MOST || !(await log.blocks.loadLines(first - 1, Math.min(last, log.lines.count)))) throw new RangeError();
      text = textOf(log.lines, log.chosen);
    }
    if (kind === "markdown") text = markdown(log, text, link);
    await navigator.clipboard.writeText(text);
    label.textContent = log.words.copiedSaid;
  } catch (problem) {
    label.textContent = problem instanceof RangeError ? log.words.tooManySaid : log.words.notCopiedSaid; // it stands in the address bar
  }
  log.part("copy-menu").open = false;
  setTimeout(() => (label.textContent = words), SAID);
}
