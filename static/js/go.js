// Goes to another page of the same part of the studio: the frame stays, with its socket; Back works as with any page.
import { remember } from "./live.js";

export async function go(address) {
  const catchUp = remember();
  try {
    await htmx.ajax("GET", address, { source: "#main", target: "#main", select: "#main", swap: "outerHTML settle:0ms show:window:top", push: "true" });
  } catch {
    location.assign(address);
    return;
  }
  catchUp();
  document.getElementById("main").focus({ preventScroll: true }); // where a page that was loaded would begin
}
