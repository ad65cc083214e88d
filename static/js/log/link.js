// What a page's address says of a log: "#2/std_log.txt:L120-L140", a byte "#:B4096", or a moment "#:T2026-11-22T14:32:10Z".
const FORM = /^(?:([\w.-]+\/[\w.-]+))?:?(?:L(\d{1,15})(?:-L?(\d{1,15}))?|B(\d{1,15})|T([\dT:.Z+-]{10,40}))?$/;

export function linked() {
  let match = null;
  try {
    match = FORM.exec(decodeURIComponent(location.hash.slice(1)));
  } catch { /* half a letter: it leads nowhere */ }
  if (!match) return { stream: null, lines: null, place: null };
  const first = Number(match[2]), last = Number(match[3] ?? match[2]);
  return {
    stream: match[1] ?? null,
    lines: match[2] ? [Math.min(first, last), Math.max(first, last)] : null,
    place: match[4] ? { offset: match[4] } : match[5] ? { time: match[5] } : null,
  };
}
