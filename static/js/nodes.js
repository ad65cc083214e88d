// [data-nodes="/ws/…"]: CPU and memory of each node's job, once a second, into the row of the node.
//   a row has data-node, data-cpus (virtual CPUs) and data-memory (bytes)
const place = document.querySelector("[data-nodes]");
const FIRST_USE = 700; // ms before there is anything to hear of a job that begins as the page does
const LONGEST_WAIT = 15000; // ms before connecting again
let newest = {}, wait = 500;

const units = ["B", "kB", "MB", "GB", "TB"];
const written = new Intl.NumberFormat(document.documentElement.lang || "en", { maximumFractionDigits: 1 });
function size(bytes) {
  let n = bytes, unit = 0;
  while (n >= 1000 && unit < units.length - 1) { n /= 1000; unit += 1; }
  return `${written.format(n >= 100 || !unit ? Math.round(n) : n)} ${units[unit]}`;
}

function show() {
  for (const row of document.querySelectorAll("[data-node]")) {
    const used = newest[row.dataset.node];
    const [cpu, memory] = [row.querySelector("[data-cpu]"), row.querySelector("[data-used]")];
    cpu.value = used ? Math.min(100, used.cpu_percent / row.dataset.cpus) : 0;
    memory.value = used ? Math.min(100, (100 * used.memory_bytes) / row.dataset.memory) : 0;
    row.querySelector("[data-cpu-said]").textContent = used ? `${Math.round(used.cpu_percent / row.dataset.cpus)} %` : "—";
    row.querySelector("[data-used-said]").textContent = used
      ? `${size(used.memory_bytes)} / ${size(row.dataset.memory)}` : `— / ${size(row.dataset.memory)}`;
  }
}

function connect() {
  const socket = new WebSocket(new URL(place.dataset.nodes, location.href.replace(/^http/, "ws")));
  socket.onopen = () => { wait = 500; };
  socket.onmessage = (message) => {
    newest = JSON.parse(message.data);
    show();
  };
  socket.onclose = (close) => {
    if (close.code >= 4400) return; // the target is gone, or not ours any more
    setTimeout(connect, wait);
    wait = Math.min(wait * 2, LONGEST_WAIT);
  };
}

if (place) {
  setTimeout(connect, FIRST_USE);
  document.addEventListener("htmx:afterSettle", show); // a replaced row keeps its bars
}
