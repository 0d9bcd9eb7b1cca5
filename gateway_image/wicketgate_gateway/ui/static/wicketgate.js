// Keys on the page of one request, and nothing else: all that matters works without this file.
"use strict";
document.addEventListener("keydown", (event) => {
  const form = document.getElementById("approve-form");
  if (!form || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target instanceof HTMLElement && event.target.matches("input, textarea, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const comment = document.getElementById("comment");
  if (event.key === "c") {
    event.preventDefault();
    comment.focus();
  } else if (event.key === "a" || event.key === "d") {
    // A key only leads to the button: what is answered is pressed on purpose.
    event.preventDefault();
    form.querySelector(`button[accesskey="${event.key}"]`).focus();
  }
});
