// select[data-submits] sends its form when another choice is made; [data-without-script] is then not needed.
document.documentElement.dataset.scripted = "";
document.addEventListener("change", (event) => {
  if (event.target.matches?.("select[data-submits]")) event.target.form.requestSubmit();
});
