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

// What somebody types to go somewhere: {line: 5000}, {share: 0.5}, {time: "2026-11-22T14:32:00.000Z"}; null for else.
export function typed(words, now = new Date()) {
  const text = words.trim(), share = /^(\d{1,3}(?:[.,]\d+)?)\s*%$/.exec(text);
  if (share) return { share: Math.min(1, Number(share[1].replace(",", ".")) / 100) };
  const short = /^(\d\d?):(\d\d)(?::(\d\d))?$/.exec(text);
  if (short) {
    const moment = new Date(now.getFullYear(), now.getMonth(), now.getDate(), short[1], short[2], short[3] ?? 0);
    if (moment > now) moment.setDate(moment.getDate() - 1);
    return { time: moment.toISOString() };
  }
  if (/^\d[\d\s.,’']*$/.test(text)) return { line: Math.max(1, Number(text.replace(/\D/g, ""))) };
  const moment = /^\d{4}-\d\d?-\d\d?([ T]|$)/.test(text) ? new Date(text.replace(" ", "T")) : null;
  return moment && !Number.isNaN(moment.getTime()) ? { time: moment.toISOString() } : null;
}
