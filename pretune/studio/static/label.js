// Labelling by keyboard: 1 to 9 give a label, s skips, u takes the last one back. Every label is saved at once.
"use strict";
const box = document.getElementById("label"), get = id => document.getElementById(id);
const labels = box ? JSON.parse(box.dataset.labels) : [];
let texts = [], given = [], skipped = new Set(), last = Promise.resolve();

async function send(fields) {
  const answer = await fetch("/label/save", { method: "POST", body: new URLSearchParams({ path: box.dataset.path, ...fields }) });
  get("done").textContent = (await answer.json()).done;
}

async function more() {
  const asked = new URLSearchParams({ path: box.dataset.path, model: box.dataset.model, skip: skipped.size });
  const found = await (await fetch("/label/next?" + asked)).json();
  texts = found.texts.filter(one => !skipped.has(one.text));
  get("left").textContent = found.left;
  show();
}

function show() {
  const one = texts[0];
  get("text").textContent = one ? one.text : box.dataset.end;
  get("guess").textContent = one && one.guess ? "? " + one.guess : "";
}

// One after the other: who types fast loses no key.
const after = work => { last = last.then(work, work); };

const choose = label => after(async () => {
  if (!texts.length) return;
  const text = texts.shift().text;
  await send({ label, text });
  given.push(text);
  get("left").textContent = Math.max(0, get("left").textContent - 1);
  if (texts.length) show(); else await more();
});
const skip = () => after(async () => {
  if (texts.length) skipped.add(texts.shift().text);
  if (texts.length) show(); else await more();
});
// The one that this page gave last: another page may have labelled since.
const undo = () => after(async () => { await send({ do: "undo", text: given.pop() || "" }); await more(); });

if (box) {
  for (const button of box.querySelectorAll("[data-label]")) button.addEventListener("click", () => choose(button.dataset.label));
  get("skip").addEventListener("click", skip);
  get("undo").addEventListener("click", undo);
  document.addEventListener("keydown", event => {
    if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const at = Number(event.key) - 1;
    if (labels[at] !== undefined) choose(labels[at]);
    else if (event.key === "s") skip();
    else if (event.key === "u") undo();
  });
  more();
}
