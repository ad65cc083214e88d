// The table of teams and people is kept live, and waits while a limit is edited in it.
document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.target.id === "quota-people" && event.target.querySelector(".edit.open")) event.preventDefault();
});
