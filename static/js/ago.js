// Keeps <time data-ago> ("3 min ago") and <time data-since> ("1 m 12 s") true, by the server's clock.
const body = document.body.dataset;
const ahead = Date.parse(body.now) - Date.now(); // ms; the browser's clock may be wrong
const [day, hour, minute, second] = (body.agoUnits ?? "{n} d|{n} h|{n} min|{n} s").split("|");
const [dayOf, hourOf, minuteOf, secondOf] = (body.durationUnits ?? "{n} d|{n} h|{n} m|{n} s").split("|");
const write = (unit, n) => unit.replace("{n}", n);

function short(seconds) {
  for (const [size, unit] of [[86400, day], [3600, hour], [60, minute]]) {
    if (seconds >= size) return write(unit, Math.floor(seconds / size));
  }
  return write(second, seconds);
}

export function long(seconds) {
  const d = Math.floor(seconds / 86400), h = Math.floor(seconds / 3600) % 24, m = Math.floor(seconds / 60) % 60;
  if (d) return `${write(dayOf, d)} ${write(hourOf, h)}`;
  if (h) return `${write(hourOf, h)} ${write(minuteOf, m)}`;
  if (m) return `${write(minuteOf, m)} ${write(secondOf, seconds % 60)}`;
  return write(secondOf, seconds);
}

function refresh() {
  const now = Date.now() + ahead;
  for (const time of document.querySelectorAll("time[data-ago], time[data-since]")) {
    const seconds = Math.max(0, Math.floor((now - Date.parse(time.dateTime)) / 1000));
    const words = "since" in time.dataset ? long(seconds) : body.agoSaid.replace("{span}", short(seconds));
    if (time.textContent !== words) time.textContent = words;
  }
}

setInterval(() => { if (!document.hidden) refresh(); }, 1000);
document.addEventListener("visibilitychange", refresh);
