// Keys, and nothing else: all that matters works without this file.
"use strict";
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target instanceof HTMLElement && event.target.matches("input, textarea, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  // What stands in the player has keys of its own.
  if (event.target instanceof Element && event.target.closest(".screen")) return;
  const field = { c: "comment", "/": "find", g: "go" }[event.key];
  const form = document.getElementById("approve-form");
  if (field && document.getElementById(field)) {
    event.preventDefault();
    document.getElementById(field).focus();
  } else if (form && (event.key === "a" || event.key === "d")) {
    // A key only leads to the button: what is answered is pressed on purpose.
    event.preventDefault();
    form.querySelector(`button[accesskey="${event.key}"]`).focus();
  } else if (event.key === "j" || event.key === "k") {
    step(event.key === "j" ? 1 : -1);
  }
});

// `j` and `k` go through what a page lists: cards of approvals, operations of a session.
function step(by) {
  const all = [...document.querySelectorAll(".cards .card, .steps .step")];
  if (!all.length) return;
  const at = all.findIndex((each) => each.contains(document.activeElement));
  const next = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + by))];
  next.focus();
  next.scrollIntoView({ block: "nearest" });
}
