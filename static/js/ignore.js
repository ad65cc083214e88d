// Which files of a folder its .amlignore or .gitignore leaves out, as git reads such patterns.
// The server decides; this spares the upload of what it would leave out, and says so before.
const ALWAYS = [".git", "__MACOSX/", ".DS_Store"];
const USUAL = [".ipynb_checkpoints/", "__pycache__/", ".azureml/", "azureml-logs/", "azureml-setup/", "/outputs/", ".venv/"];

// One pattern as a regular expression over a path without a leading slash, or null for a comment or a blank line.
function rule(line) {
  let text = line.replace(/\r$/, "");
  text = text.replace(/(?<!\\)\s+$/, "");
  if (!text || text.startsWith("#")) return null;
  const again = text.startsWith("!");
  if (again) text = text.slice(1);
  text = text.replace(/^\\([#!])/, "$1");
  const folder = text.endsWith("/");
  if (folder) text = text.slice(0, -1);
  const anchored = text.includes("/");
  if (text.startsWith("/")) text = text.slice(1);
  if (!text) return null;
  let expression = "";
  for (let i = 0; i < text.length; i += 1) {
    const c = text[i];
    if (c === "*" && text[i + 1] === "*") {
      const before = i === 0 || text[i - 1] === "/";
      if (before && text[i + 2] === "/") {
        expression += "(?:[^/]+/)*";
        i += 2;
      } else if (before && i + 2 === text.length) {
        expression += ".+";
        i += 1;
      } else {
        expression += "[^/]*";
        i += 1;
      }
    } else if (c === "*") expression += "[^/]*";
    else if (c === "?") expression += "[^/]";
    else if (c === "[") {
      const end = text.indexOf("]", i + 2);
      if (end < 0) return null;
      expression += `[${text.slice(i + 1, end).replace(/^!/, "^").replaceAll("\\", "\\\\")}]`;
      i = end;
    } else if (c === "\\" && i + 1 < text.length) {
      i += 1;
      expression += text[i].replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
    } else expression += c.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
  }
  try {
    return { again, test: new RegExp(`^${anchored ? "" : "(?:.*/)?"}${expression}${folder ? "/." : "(?:/.|$)"}`) };
  } catch {
    return null; // the server will read it, and say so if it cannot
  }
}

const rules = (lines) => lines.map(rule).filter(Boolean);

// Returns path → the name of the file that leaves it out, or "" for what is always left out, or null when it stays.
export function ignorer({ amlignore, gitignore }) {
  const always = rules(ALWAYS);
  const name = amlignore !== undefined ? ".amlignore" : gitignore !== undefined ? ".gitignore" : "";
  const usual = amlignore !== undefined ? [] : rules(USUAL);
  const said = rules((amlignore ?? gitignore ?? "").split("\n"));
  const out = (list, path) => list.reduce((left, one) => (one.test.test(path) ? !one.again : left), false);
  return (path) => {
    if (out(always, path) || out(usual, path)) return "";
    return out(said, path) ? name : null;
  };
}
