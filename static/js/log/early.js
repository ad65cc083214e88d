// Opens sockets of logs before anything of their page is there: [data-socket][data-stream] on the script itself names
// the page's own. A classic script in front of the styles, so that neither a module nor a style holds it up.
(() => {
  const opened = new Map(); // address → {socket, early}: a socket, and what it brought so far

  const address = (where, facts) => {
    const url = new URL(where, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    for (const [name, value] of Object.entries(facts)) url.searchParams.set(name, value);
    return url.href;
  };

  function open(where, stream, line) {
    const url = address(where, { stream, ...(line && { line }) });
    if (opened.has(url)) return;
    const early = [], socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    socket.onmessage = (message) => early.push(message);
    opened.set(url, { socket, early });
  }

  // Hand over the socket of an address, if it is usable, and let go of those that nobody came for.
  function take(url) {
    const found = opened.get(url);
    opened.delete(url);
    for (const { socket } of opened.values()) socket.close();
    opened.clear();
    return found && found.socket.readyState <= WebSocket.OPEN ? found : null;
  }

  globalThis.logAhead ??= { address, open, take };
  const { socket, stream } = document.currentScript.dataset;
  if (!socket) return; // a page that opens one later
  let linked = null;
  try {
    linked = /^#([\w.-]+\/[\w.-]+)(?::L(\d+))?/.exec(decodeURIComponent(location.hash)); // as ./link.js has it
  } catch { /* half a letter: it leads nowhere */ }
  globalThis.logAhead.open(socket, linked?.[1] ?? stream, linked?.[2]);
})();
