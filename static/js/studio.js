// Every behaviour that all pages share; each module finds its elements by their data- attributes.
import "./switch.js";
import "./submits.js";
import "./notices.js";
import "./menu.js";
import "./dialog.js";
import "./confirm.js";
import "./once.js";
import "./table.js";
import "./tabs.js";
import "./tags.js";
import "./copy.js";
import "./ago.js";
import "./keys.js";
import "./search.js";
import "./live.js";
import "./wrong.js";
