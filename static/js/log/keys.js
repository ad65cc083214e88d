// What keys do in a log. On the page: matches, errors, following, wrapping, places. On its lines: scrolling.
const FIELDS = "input, textarea, select, [contenteditable]";

export function pressed(log, event) {
  const inside = log.section.contains(event.target), commanded = event.ctrlKey || event.metaKey;
  if (event.defaultPrevented || event.altKey || document.querySelector("dialog[open]")) return;
  if (commanded && event.key === "f" && inside) {
    event.preventDefault();
    log.part("find").select();
    return;
  }
  if (commanded || event.target.closest?.(FIELDS)) return;
  if (!inside && event.target !== document.body && event.target.id !== "main") return;
  const { view } = log, page = view.tall - 2 * view.height;
  const keys = {
    n: () => log.search.next(1),
    N: () => log.search.next(-1),
    e: () => log.nextError(),
    f: () => log.follow(),
    w: () => log.part("wrap").click(),
    l: () => log.part("places").showModal(),
    ...(event.target === log.port && {
      ArrowDown: () => view.by(view.average),
      ArrowUp: () => view.by(-view.average),
      PageDown: () => view.by(page),
      PageUp: () => view.by(-page),
      " ": () => view.by(event.shiftKey ? -page : page),
      Home: () => view.to(0),
      End: () => view.toEnd(),
    }),
  };
  if (!Object.hasOwn(keys, event.key)) return;
  event.preventDefault();
  keys[event.key]();
}
