const get = id => document.getElementById(id);
let language = navigator.language.startsWith("zh") ? "zh" : "en";

const OURS = { other: ["中文", "English"], gone: ["The server cannot be reached.", "无法连接服务器。"] };
const say = word => (WORDS[word] || OURS[word])[language === "zh" ? 1 : 0];

// Every element that names a word of WORDS, in the language that is chosen.
function speak() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const one of document.querySelectorAll("[data-say]")) one.textContent = say(one.dataset.say);
  for (const one of document.querySelectorAll("[data-hint]")) one.placeholder = say(one.dataset.hint);
  for (const one of document.querySelectorAll("[data-name]")) one.setAttribute("aria-label", say(one.dataset.name));
}

// What is done when the button is pressed that changes the language.
function speaking(again) {
  get("language").addEventListener("click", () => { language = language === "zh" ? "en" : "zh"; again(); });
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

// One child for each item, in their order. That of an item which is as it was stays, with what is typed, marked and open
// in it; in the place of one that was focused the new one is. Gives the new children.
const FOCUSED = "button, input, textarea, summary";
function redraw(parent, items, make) {
  const there = [...parent.children], made = [];
  const wanted = items.map(item => {
    const drawn = JSON.stringify([language, item]), same = there.find(one => one.drawn === drawn);
    if (same) return same;
    const old = there.find(one => item && one.item === item.id), one = make(item, old);
    one.focused = old ? [...old.querySelectorAll(FOCUSED)].indexOf(document.activeElement) : -1;
    made.push(Object.assign(one, { drawn, item: item && item.id }));
    return one;
  });
  for (const one of there) if (!wanted.includes(one)) one.remove();
  // Only what is new is put in: who is moved loses the focus.
  wanted.forEach((one, k) => { if (parent.children[k] !== one) parent.insertBefore(one, parent.children[k] || null); });
  for (const one of made) if (one.focused >= 0) one.querySelectorAll(FOCUSED)[one.focused]?.focus();
  return made;
}
