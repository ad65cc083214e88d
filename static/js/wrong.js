// A form that came back because something in it is wrong begins at the first such field.
const wrong = [...document.querySelectorAll("main form [aria-invalid=true]")].find((field) => field.checkVisibility());
if (wrong && document.activeElement === document.body) wrong.focus();
