// input[data-slides="id of a number field"]: a slider beside the number; each moves the other.
function field(slider) { return document.getElementById(slider.dataset.slides); }

function show() {
  for (const slider of document.querySelectorAll("[data-slides][hidden]")) {
    const number = field(slider);
    slider.hidden = false;
    slider.max = Math.max(Number(slider.max), Number(number.value) || 0);
    slider.value = number.value;
  }
}

// On the document and first: whoever reads the form afterwards finds both as they are now.
document.addEventListener("input", ({ target }) => {
  if (target.matches?.("[data-slides]")) field(target).value = target.value;
  else if (target.id) {
    const slider = document.querySelector(`[data-slides="${CSS.escape(target.id)}"]`);
    if (slider) slider.value = target.value;
  }
}, true);
document.addEventListener("htmx:afterSettle", show);
show();
