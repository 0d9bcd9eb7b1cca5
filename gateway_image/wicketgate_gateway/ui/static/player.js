// Terminal recordings on the page of a session: mounts the player where one is opened, and leads it to a find.
"use strict";
const players = new Map(); // by the element that holds one

function mount(holder, startAt) {
  const screen = holder.querySelector(".screen");
  const old = players.get(holder);
  if (old) old.dispose();
  const live = holder.dataset.live === "1";
  const source = live ? { driver: "eventsource", url: `${holder.dataset.cast}/live` } : { url: holder.dataset.cast };
  const markers = [...holder.querySelectorAll("[data-seek]")].map((each) => [Number(each.dataset.seek), "found"]);
  const player = AsciinemaPlayer.create(source, screen, {
    autoPlay: live,
    preload: !live,
    poster: live ? undefined : `npt:${startAt || 0.001}`,
    startAt: startAt || 0,
    speed: Number(holder.querySelector(".speed").value) || 1,
    fit: "width",
    markers,
    controls: true,
    theme: "wicketgate",
  });
  players.set(holder, player);
  return player;
}

function begin(holder) {
  if (!players.has(holder)) mount(holder);
}

function ready() {
  for (const holder of document.querySelectorAll("details.terminal[open]")) begin(holder);
}

// `toggle` does not bubble: it is caught on its way down.
document.addEventListener("toggle", (event) => {
  if (event.target instanceof HTMLElement && event.target.matches("details.terminal[open]")) begin(event.target);
}, true);

document.addEventListener("click", (event) => {
  const button = event.target instanceof Element ? event.target.closest("[data-seek]") : null;
  if (!button) return;
  const holder = button.closest("details.terminal");
  begin(holder);
  players.get(holder).seek(Number(button.dataset.seek));
  holder.querySelector(".ap-wrapper").focus();
});

document.addEventListener("change", async (event) => {
  if (!(event.target instanceof HTMLSelectElement) || !event.target.matches(".speed")) return;
  const holder = event.target.closest("details.terminal");
  const old = players.get(holder);
  if (holder.dataset.live !== "1") mount(holder, old ? await old.getCurrentTime() : 0).play();
});

if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", ready);
else ready();
