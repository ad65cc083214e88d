// How the log says things: facts put into sentences of the page's language, numbers and sizes as that language has them.
export const count = new Intl.NumberFormat(document.documentElement.lang || "en");
export const say = (words, facts = {}) => words.replace(/\{(\w+)\}/g, (_, name) => facts[name]);

export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  const unit = bytes < 1e6 ? "kB" : bytes < 1e9 ? "MB" : "GB";
  return `${count.format(Number((bytes / { kB: 1e3, MB: 1e6, GB: 1e9 }[unit]).toPrecision(3)))} ${unit}`;
}
