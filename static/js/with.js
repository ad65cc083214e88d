// [data-with="field" data-with-value="x"] is shown while the form's field of that name has that value.
export function showWith(form) {
  for (const part of form.querySelectorAll("[data-with]")) {
    const chosen = form.elements[part.dataset.with];
    if (chosen) part.hidden = chosen.value !== part.dataset.withValue;
  }
}
