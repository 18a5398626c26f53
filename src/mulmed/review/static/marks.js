// Marked words: offsets are characters (code points) of the answer, as the server counts them; scripts count UTF-16 units.

const points = (text, units) => [...text.slice(0, units)].length;
const units = (text, count) => [...text].slice(0, count).join("").length;

// The answer as text with its marked stretches; overlapping marks are drawn as one.
export function draw(element, answer, marks) {
  const stretches = marks.map((m) => [units(answer, m.start), units(answer, m.end)]).sort((a, b) => a[0] - b[0]);
  element.replaceChildren();
  let at = 0;
  for (const [start, end] of stretches) {
    if (end <= at) continue;
    element.append(answer.slice(at, Math.max(at, start)));
    const mark = document.createElement("mark");
    mark.textContent = answer.slice(Math.max(at, start), end);
    element.append(mark);
    at = end;
  }
  element.append(answer.slice(at));
}

// The selected stretch of the answer, or null.
export function selected(element, answer) {
  const selection = getSelection();
  if (!selection.rangeCount || selection.isCollapsed) return null;
  const range = selection.getRangeAt(0);
  if (!element.contains(range.startContainer) || !element.contains(range.endContainer)) return null;
  const before = document.createRange();
  before.selectNodeContents(element);
  before.setEnd(range.startContainer, range.startOffset);
  const start = before.toString().length;
  const end = start + range.toString().length;
  return end > start ? { start: points(answer, start), end: points(answer, end) } : null;
}

export function sentences(answer) {
  const found = [];
  for (const match of answer.matchAll(/[^。！？!?\n.]+(?:[。！？!?]+|\.+(?=\s|$)|\.|\n|$)/gu)) {
    const lead = match[0].length - match[0].trimStart().length;
    const text = match[0].trim();
    if (text) found.push({ text, start: points(answer, match.index + lead), end: points(answer, match.index + lead + text.length) });
  }
  return found;
}

export const words = (answer, mark) => [...answer].slice(mark.start, mark.end).join("");
