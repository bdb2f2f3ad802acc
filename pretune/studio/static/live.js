// Asks for the part of a run's page that changes, as long as the run goes on and the page is seen.
"use strict";
const box = document.getElementById("live");
const goesOn = () => box.querySelector("[data-state]").dataset.state === "running";

async function again() {
  if (document.visibilityState === "visible" && !box.contains(document.activeElement)) {
    const log = box.querySelector(".log"), isLow = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    const answer = await fetch(box.dataset.address).catch(() => null);
    if (answer && answer.ok) {
      box.innerHTML = await answer.text();  // our own template, which escapes what runs print
      const now = box.querySelector(".log");
      now.scrollTop = isLow ? now.scrollHeight : log.scrollTop;
    }
  }
  if (goesOn()) setTimeout(again, 1500);
}

if (goesOn()) setTimeout(again, 1000);
