const get = id => document.getElementById(id);
let language = navigator.language.startsWith("zh") ? "zh" : "en";

const say = word => WORDS[word][language === "zh" ? 1 : 0];

// Every element that names a word of WORDS, in the language that is chosen.
function speak() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const one of document.querySelectorAll("[data-say]")) one.textContent = say(one.dataset.say);
  for (const one of document.querySelectorAll("[data-hint]")) one.placeholder = say(one.dataset.hint);
  for (const one of document.querySelectorAll("[data-name]")) one.setAttribute("aria-label", say(one.dataset.name));
}

// Text becomes nodes, never HTML: what a model or a user writes cannot act.
function node(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

async function call(path, body, signal) {
  const settings = body ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal } : {};
  let answer;
  try { answer = await fetch(path.slice(1), settings); }  // from the page's own address: it may be passed on under another
  catch (error) { if (error.name === "AbortError") throw error; throw new Error(say("gone")); }
  if (!answer.ok) {
    const tree = await answer.json().catch(() => null);
    throw new Error(tree && tree.error ? tree.error.message : "HTTP " + answer.status);
  }
  return answer;
}
