// What a live region says. The same words again are no change, and screen readers would not say them: they go and come back,
// told apart by a space (Orca leaves out what equals the last message).

const PAUSE = 150; // milliseconds; browsers gather what happens at once
const SPACE = "\u00a0";
const waiting = new WeakMap();

export function announce(element, text) {
  clearTimeout(waiting.get(element));
  const before = element.textContent;
  const again = text !== "" && before.replace(SPACE, "") === text;
  element.textContent = again ? "" : text;
  if (again) waiting.set(element, setTimeout(() => { element.textContent = before === text ? text + SPACE : text; }, PAUSE));
}
