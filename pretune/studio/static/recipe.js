// The form of a recipe: what is wrong is said at its field while one writes; another kind brings its own settings.
"use strict";
const form = document.getElementById("recipe");
let timer = 0;

async function check() {
  const answer = await fetch("/recipe/check", { method: "POST", body: new URLSearchParams(new FormData(form)) }).catch(() => null);
  if (!answer || !answer.ok) return;
  const { wrong, yaml } = await answer.json();
  document.getElementById("yaml").textContent = yaml;
  document.getElementById("whole").textContent = (wrong[""] || []).join("; ");
  for (const field of document.querySelectorAll("[data-place]")) {
    const told = wrong[field.dataset.place] || [];
    field.classList.toggle("wrong", told.length > 0);
    field.querySelector(".mistake").textContent = told.join("; ");
  }
}

// A block is the same one after a redraw if it stands in the same stage under the same name.
const nameOf = block => (block.closest("section") || form).id + block.firstElementChild.textContent;

async function redraw(id) {
  const open = new Set([...form.querySelectorAll("details[open]")].map(nameOf));
  const answer = await fetch("/recipe", { method: "POST", body: new URLSearchParams(new FormData(form)) });
  form.innerHTML = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("recipe").innerHTML;
  for (const block of form.querySelectorAll("details")) block.open ||= open.has(nameOf(block));
  const field = document.getElementById(id);
  for (let around = field; around; around = around.parentElement) if (around.tagName === "DETAILS") around.open = true;
  if (field) field.focus();
  check();
}

form.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(check, 300); });
form.addEventListener("change", event => { if (event.target.matches("[data-kind]")) redraw(event.target.id); });
// Enter in a field must not press the first button.
form.addEventListener("keydown", event => { if (event.key === "Enter" && event.target.matches("input")) { event.preventDefault(); check(); } });
