// Goes to another page of the same part of the studio: the frame stays, with its socket; Back works as with any page.
import { remember } from "./live.js";

// `content`: that of the page, where it is here already, with what tells the parts that come with it what they missed.
export async function go(address, content = null, catchUp = remember()) {
  try {
    if (content) put(address, content);
    else await htmx.ajax("GET", address, { source: "#main", target: "#main", select: "#main", swap: "outerHTML settle:0ms show:window:top", push: "true" });
  } catch {
    location.assign(address);
    return;
  }
  catchUp();
  document.getElementById("main").focus({ preventScroll: true }); // where a page that was loaded would begin
}

// As htmx does it with an answer of its own.
function put(address, content) {
  history.replaceState({ htmx: true }, document.title, location.href);
  history.pushState({ htmx: true }, "", address);
  htmx.swap("#main", content, { swapStyle: "outerHTML", swapDelay: 0, settleDelay: 0 }, { select: "#main" });
  scrollTo({ top: 0, behavior: "instant" });
}
