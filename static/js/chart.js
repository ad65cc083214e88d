// [data-chart="{…}"]: draws what studio/dashboards/charts.py describes. The one module of the page that knows the library.
// The library is fetched when the first chart comes into view, after the page is there. Colours come from the stylesheet.
// The style of its maps, which none of ours has: it writes it into the page unless an element with this id is there.
const STYLE_OF_MAPS = "9f215cf04c5486422605d13261cb87401f4e7763b6296af81e98efbc0130da53";
let library = null; // a promise, once it is asked for
const wanted = new WeakSet(); // in view by now
const drawn = new Map(); // place → what was drawn there
const probe = document.createElement("i");
probe.hidden = true;

function fetchLibrary() {
  library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script"), instead = document.createElement("template");
    instead.id = STYLE_OF_MAPS;
    script.src = document.querySelector("[data-library]").dataset.library;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => { library = null; reject(new Error("The library for charts did not come.")); };
    document.head.append(instead, script);
  });
  return library;
}

const inView = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    wanted.add(target);
    inView.unobserve(target);
    draw(target);
  }
}, { rootMargin: "100px" });
const resized = new ResizeObserver((entries) => {
  for (const { target } of entries) if (drawn.has(target)) drawOver(target);
});

// Draw a place, or draw it over when what it shows has changed; one that is not in view yet waits until it is.
export function draw(place) {
  if (!wanted.has(place)) {
    inView.observe(place);
    return;
  }
  if (drawn.get(place)?.said === place.dataset.chart) return;
  fetchLibrary().then(() => { if (place.isConnected) drawOver(place); }, () => setTimeout(() => place.isConnected && draw(place), 30_000));
}

// Take a chart away; nothing of it is kept.
export function letGo(place) {
  inView.unobserve(place);
  resized.unobserve(place);
  if (drawn.delete(place)) window.Plotly.purge(place);
}

function colour(token) {
  if (!probe.isConnected) document.body.append(probe);
  probe.style.color = `var(--${token})`;
  return getComputedStyle(probe).color;
}
const faint = (rgb, share) => rgb.replace("rgb(", "rgba(").replace(")", `, ${share})`);

// A day as the page's language writes it, in the library's own form: "%-d/%-m".
const DAY = new Intl.DateTimeFormat(document.documentElement.lang || "en", { day: "numeric", month: "numeric" })
  .formatToParts().map(({ type, value }) => ({ day: "%-d", month: "%-m" })[type] ?? value).join("");
const pad = (n) => String(n).padStart(2, "0");
function localTime(ms) { // as text, so that it is shown in the viewer's own time
  const at = new Date(ms);
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())} ${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
}

const escaped = (text) => text.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);

function traces({ kind, x, series }) {
  return series.map(({ name, tone, x: xs, y }) => {
    const ink = colour(tone), at = x === "time" ? xs.map(localTime) : xs;
    const trace = { name: escaped(name), x: at, y, hovertemplate: `%{y} ${escaped(name).replaceAll("%", "%&#8203;")}<extra></extra>` };
    if (kind === "bars") return { ...trace, type: "bar", marker: { color: ink } };
    const line = { color: ink, width: kind === "area" ? 1.5 : 2, shape: kind === "area" ? "hv" : "linear" };
    const few = kind === "line" && xs.length < 30;
    return { ...trace, type: "scatter", mode: few ? "lines+markers" : "lines", line,
      ...(kind === "area" && { stackgroup: "all", fillcolor: faint(ink, 0.28) }) };
  });
}

function layout({ kind, x, log, series }, place) {
  const size = parseFloat(getComputedStyle(place).fontSize), room = Math.max(2, Math.round(place.clientHeight / (size * 3)));
  const muted = colour("muted"), grid = colour("line");
  const axis = { color: muted, gridcolor: grid, linecolor: grid, zeroline: false, automargin: true, fixedrange: true };
  return {
    autosize: false, width: place.clientWidth, height: place.clientHeight,
    margin: { l: 8, r: 8, t: 8, b: 8 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(place).fontFamily, size, color: muted }, showlegend: false, barmode: "stack", bargap: 0.25,
    hovermode: "x unified", hoverlabel: { bgcolor: colour("surface"), bordercolor: grid, font: { color: colour("text") } },
    xaxis: { ...axis, showgrid: false, type: { time: "date", day: "date", number: "linear" }[x], nticks: Math.max(3, Math.round(place.clientWidth / (size * 8))),
      ...(x === "day" && { tickformat: DAY }), ...(x === "time" && { tickformatstops: [
        { dtickrange: [null, 43_200_000], value: "%H:%M" }, { dtickrange: [43_200_000, null], value: DAY }] }) },
    yaxis: { ...axis, type: log ? "log" : "linear", nticks: room,
      ...(kind !== "line" && { rangemode: "tozero" }),
      ...(kind !== "line" && Math.max(0, ...series.flatMap((s) => s.y)) <= Math.min(4, room) && { dtick: 1 }) },
  };
}

function drawOver(place) {
  const said = place.dataset.chart, chart = JSON.parse(said);
  const { Plotly } = window;
  const first = !drawn.has(place);
  drawn.set(place, { said });
  const options = { displayModeBar: false, responsive: false, staticPlot: Boolean(place.closest("[data-wall]")), doubleClick: false };
  Plotly.react(place, traces(chart), layout(chart, place), options);
  if (first) resized.observe(place);
}

function recolour() {
  for (const place of [...drawn.keys()]) if (place.isConnected) drawOver(place); else letGo(place);
}
new MutationObserver(recolour).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
