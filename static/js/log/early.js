// Opens the socket of a page's log while the rest of the page's scripts are still on their way.
import { linked } from "./link.js";
import { openAhead } from "./socket.js";

const section = document.querySelector("[data-log]");
if (section && !section.log) openAhead(section.dataset.socket, linked().stream || section.querySelector("[data-log-stream]").value);
