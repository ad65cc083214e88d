// Shows the lines that are in sight, and no others: a log of any length costs the page some sixty rows.
import { decode, fill, lastState, lookAfter, pieces } from "./text.js";

const TALLEST = 15_000_000; // pixels of an element that every browser scrolls; a longer log is scrolled to scale
const SPARE = 12; // rows beyond what is in sight, above and below
const PAD = 12; // pixels above the first line and below the last
const PACE = 40; // ms between two drawings while lines pour in; a single line is drawn at once, not with the next frame

export class View {
  // `asks` has dress(index) → {number, href, chosen, at, hits(text), rewritten(states), cut(bytes)}, missing(first, last) and moved().
  constructor(port, lines, asks) {
    Object.assign(this, { port, lines, asks, scroll: 0, following: true, wrap: false, dressed: 0, drew: 0, drawn: new Map(), looks: new Map() });
    this.space = document.createElement("div");
    this.space.className = "log-space";
    this.rows = document.createElement("div");
    this.rows.className = "log-rows";
    this.space.append(this.rows);
    port.append(this.space);
    this.height = parseFloat(getComputedStyle(this.rows).lineHeight) || 20; // of a row that is not wrapped
    this.average = this.height; // of a row, when lines are wrapped
    this.top = this.set = 0;
    port.addEventListener("scroll", () => this.scrolled(), { passive: true });
    port.addEventListener("wheel", (event) => this.wheeled(event), { passive: false });
    this.tall = port.clientHeight; // asked for once: asking makes the browser lay out the page
    this.resizing = new ResizeObserver(() => {
      this.tall = port.clientHeight;
      this.set = port.scrollTop; // a taller window cannot be scrolled as far: that is nobody going up
      this.draw();
    });
    this.resizing.observe(port);
  }

  get whole() {
    return Math.max(this.lines.count * this.average + 2 * PAD, this.tall);
  }

  get furthest() {
    return Math.max(0, this.whole - this.tall);
  }

  get scale() {
    const room = TALLEST - this.tall;
    return this.whole > TALLEST ? this.furthest / room : 1;
  }

  // Draw before the next frame.
  draw() {
    this.asked ??= requestAnimationFrame(() => this.drawNow());
  }

  // Draw what came, at a pace that leaves the machine to others.
  drawSoon() {
    const wait = this.drew + PACE - performance.now();
    if (wait <= 0) this.drawNow();
    else if (!this.asked) this.later ??= setTimeout(() => this.drawNow(), wait);
  }

  drawNow() {
    clearTimeout(this.later);
    cancelAnimationFrame(this.asked);
    this.later = this.asked = null;
    if (this.lines.count) this.drew = performance.now(); // an empty log holds up no line
    this.render();
  }

  // Draw every row anew: something about how they look has changed.
  redress() {
    this.dressed++;
    this.draw();
  }

  scrolled() {
    const top = this.port.scrollTop;
    if (Math.abs(top - this.set) < 1) return; // ours
    const up = top < this.set;
    this.set = top;
    this.scroll = Math.min(top * this.scale, this.furthest);
    // Whoever goes up wants to read, be it by a pixel; whoever arrives at the end wants to follow.
    this.following = !up && this.scroll >= this.furthest - 4;
    this.moved = true;
    this.draw();
  }

  wheeled(event) {
    if (event.ctrlKey || event.shiftKey || !event.deltaY) return;
    if (event.deltaY < 0) this.following = false;
    if (this.scale === 1) return;
    event.preventDefault(); // to scale, a turn of the wheel would skip lines
    this.by(event.deltaMode === 1 ? event.deltaY * this.height : event.deltaMode === 2 ? event.deltaY * this.tall : event.deltaY);
  }

  by(pixels) {
    this.to(this.scroll + pixels);
    this.following = pixels > 0 && this.scroll >= this.furthest - 4;
  }

  to(scroll) {
    this.scroll = Math.max(0, Math.min(scroll, this.furthest));
    this.following = false;
    this.moved = true;
    this.draw();
  }

  toEnd() {
    this.following = true;
    this.draw();
  }

  // Bring line `index` into sight, a third from the top, unless it is there already.
  show(index) {
    const at = index * this.average + PAD;
    const inSight = !this.wrap && at >= this.scroll + this.height && at < this.scroll + this.tall - 2 * this.height;
    if (!inSight) this.to(this.wrap ? this.scrollFor(index) : at - this.tall / 3);
    this.following = this.furthest === 0;
    this.draw();
  }

  // With wrapped lines, a share of the way down the log stands at the same share of the way down the window.
  scrollFor(index) {
    return this.lines.count ? (index / this.lines.count) * this.furthest : 0;
  }

  // The first line in sight.
  get first() {
    const share = this.furthest ? this.scroll / this.furthest : 0;
    const line = this.wrap ? this.topmost ?? share * this.lines.count : (this.scroll - PAD) / this.height;
    return Math.max(0, Math.min(Math.ceil(line), this.lines.count - 1));
  }

  // One more than the last line in sight.
  get last() {
    return this.wrap ? this.first : Math.min(this.lines.count, Math.floor((this.scroll + this.tall - PAD) / this.height));
  }

  // Lines were put in front: what is in sight stays where it is.
  shifted(count) {
    if (this.wrap) this.topmost = undefined;
    this.scroll += count * this.average;
    this.draw();
  }

  render() {
    const { port, lines } = this;
    if (!port.isConnected || !this.tall) return;
    if (!this.wrap) this.average = this.height;
    if (this.following) this.scroll = this.furthest;
    this.scroll = Math.max(0, Math.min(this.scroll, this.furthest));
    if (!this.wrap && this.scale === 1) this.renderEven(); // first, so that one layout is for all
    this.space.style.height = `${Math.min(this.whole, TALLEST)}px`;
    const top = this.scroll / this.scale;
    if (Math.abs(this.set - top) >= 1 || this.following) port.scrollTop = top;
    this.set = port.scrollTop;
    if (this.wrap) this.renderWrapped();
    else if (this.scale !== 1) this.renderEven();
    this.asks.moved();
  }

  renderEven() {
    const { port, height } = this;
    const first = Math.max(0, Math.floor((this.scroll - PAD) / height) - SPARE);
    const last = Math.min(this.lines.count, Math.ceil((this.scroll + this.tall) / height) + SPARE);
    this.place(first, last);
    const y = this.scale === 1 ? PAD + first * height : this.set + PAD + first * height - this.scroll;
    this.rows.style.transform = `translateY(${y}px)`;
  }

  renderWrapped() {
    const { port, lines } = this;
    const count = lines.count, view = this.tall;
    const share = this.furthest ? this.scroll / this.furthest : 0;
    const anchor = Math.min(share * count, count), index = Math.min(Math.floor(anchor), count - 1);
    const around = Math.ceil(view / this.height) + SPARE;
    const first = Math.max(0, index - around), last = Math.min(count, index + around + 1);
    this.place(first, last);
    const row = this.rows.children[index - first];
    const inside = row ? row.offsetTop + (anchor - index) * row.offsetHeight : 0;
    // A short log stands at the top; else the anchor stands where the scrollbar says.
    const all = first === 0 && last === count && this.rows.offsetHeight + 2 * PAD <= view;
    const y = all ? PAD : share * view - inside + (1 - 2 * share) * PAD;
    this.rows.style.transform = `translateY(${this.set + y}px)`;
    this.topmost = undefined;
    for (let at = first; at < last; at++) {
      const element = this.rows.children[at - first];
      if (element.offsetTop + y >= 0) {
        this.topmost = at;
        break;
      }
    }
    const average = last > first ? this.rows.offsetHeight / (last - first) : this.height;
    if (Math.abs(average - this.average) > this.average * 0.25 && !this.settling) {
      this.average = average; // the scrollbar's measure; where it stands stays the same share
      this.scroll = share * this.furthest;
      this.settling = true;
      this.draw();
    } else this.settling = false;
  }

  // Make the rows first … last - 1 stand in the page; those that stay are left alone, and a selection in them.
  place(first, last) {
    const wanted = new Map();
    for (let index = first; index < last; index++) wanted.set(this.lines.start(index) ?? `line ${index}`, index);
    for (const [start, { element }] of this.drawn) {
      if (wanted.has(start)) continue;
      element.remove();
      this.drawn.delete(start);
    }
    this.asks.missing(first, last);
    let next = this.rows.firstChild;
    for (const [start, index] of wanted) {
      const version = `${this.lines.range(index)?.[1]} ${this.dressed} ${index}`;
      let row = this.drawn.get(start);
      if (row?.version !== version) {
        row = { element: row?.element ?? document.createElement("div"), version };
        this.dress(row.element, index);
        this.drawn.set(start, row);
      }
      if (row.element === next) next = next.nextSibling;
      else this.rows.insertBefore(row.element, next);
    }
  }

  // The look with which line `index` begins: that with which the one before ended.
  lookAt(index) {
    if (!this.lines.coloured) return {};
    let first = index;
    while (first > 0 && first > index - 200 && !this.looks.has(this.lines.start(first))) first--;
    let look = this.looks.get(this.lines.start(first)) ?? {};
    for (; first < index; first++) {
      const range = this.lines.range(first);
      look = range ? lookAfter(decode(this.lines.read(Math.max(range[0], range[1] - 4096), range[1])), look) : {};
      if (range) this.looks.set(this.lines.start(first + 1), look);
    }
    if (this.looks.size > 20_000) this.looks.clear();
    return look;
  }

  // A line that is not here yet.
  gap(element, index) {
    const number = document.createElement("span");
    number.className = "log-number";
    number.textContent = this.asks.dress(index).number;
    element.className = "log-row log-gap";
    element.dataset.line = index;
    element.replaceChildren(number, "…");
  }

  dress(element, index) {
    if (!this.lines.range(index)) return this.gap(element, index);
    const { bytes, states, cut } = lastState(this.lines, index);
    const asked = this.asks.dress(index);
    const found = pieces(decode(bytes), states > 1 ? {} : this.lookAt(index));
    element.className = asked.chosen ? "log-row log-chosen" : "log-row";
    element.dataset.line = index;
    const number = document.createElement("a");
    number.className = "log-number";
    number.href = asked.href;
    number.tabIndex = -1;
    number.draggable = false;
    number.textContent = asked.number;
    const text = document.createElement("span");
    text.className = "log-text";
    fill(text, found, asked.hits ? asked.hits(found.map((piece) => piece.text).join("")) : []);
    element.replaceChildren(number);
    if (asked.at !== undefined) {
      const time = document.createElement("span");
      time.className = "log-time";
      time.textContent = asked.at;
      element.append(time);
    }
    element.append(text);
    if (cut) element.append(this.aside("span", asked.cut(cut)));
    if (states > 2) {
      const button = this.aside("button", asked.rewritten(states - 1));
      button.type = "button";
      button.dataset.states = index;
      element.append(button);
    }
  }

  aside(kind, words) {
    const element = document.createElement(kind);
    element.className = "log-aside";
    element.textContent = words;
    return element;
  }

  destroy() {
    this.resizing.disconnect();
    cancelAnimationFrame(this.asked);
    clearTimeout(this.later);
    this.space.remove();
  }
}
