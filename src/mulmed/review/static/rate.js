// The rating page: one answer, the axes one after the other, everything by keyboard.

import { announce } from "/static/shared/announce.js";
import { Drafts } from "./drafts.js";
import { draw, selected, sentences, words } from "./marks.js";

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const form = $("rating");
const fieldsets = new Map([...form.querySelectorAll("fieldset.axis")].map((f) => [f.dataset.axis, f]));
const empty = () => ({ scores: {}, comment: "", marks: [], skip: null, done: false });
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, key) => values[key]);
const axisOf = (key) => data.axes.find((axis) => axis.key === key);

let rating = { ...empty(), ...data.rating };
let current = data.axes[0].key;
let final = null; // set once a rating can no longer be changed: where to go from it

// --- what is asked ---------------------------------------------------------------------------------------

// The axes that the scores leave to be asked, as Rubric.asked has it.
function asked() {
  const keys = [];
  for (const axis of data.axes) {
    keys.push(axis.key);
    if (data.on_unsafe === "stop" && axis.gate && rating.scores[axis.key] === axis.values[0]) break;
  }
  return keys;
}

const missing = () => asked().find((key) => !(key in rating.scores));

function show() {
  const open = missing();
  let visible = true;
  const keys = asked();
  for (const [key, fieldset] of fieldsets) {
    fieldset.hidden = !(visible && keys.includes(key));
    if (key === open) visible = false;
    for (const input of fieldset.querySelectorAll("input")) input.checked = rating.scores[key] === Number(input.value);
  }
  if (fieldsets.get(current).hidden) current = open ?? keys.at(-1);
  for (const [key, fieldset] of fieldsets) fieldset.classList.toggle("current", key === current);
  if ($("comment").value !== rating.comment) $("comment").value = rating.comment;
  $("mark-axis").textContent = fill(data.texts.focus, { axis: axisOf(current).title });
  showMarks();
}

function showMarks() {
  draw($("answer"), data.answer, rating.marks);
  $("mark-count").textContent = rating.marks.length ? `(${rating.marks.length})` : "";
  $("marks").replaceChildren(...rating.marks.map((mark, index) => {
    const text = words(data.answer, mark);
    const button = document.createElement("button");
    button.type = "button";
    button.append(text.length > 40 ? `${text.slice(0, 40)}…` : text, " ");
    const cross = document.createElement("span");
    cross.setAttribute("aria-hidden", "true");
    cross.textContent = "✕";
    button.append(cross);
    button.setAttribute("aria-label", fill(data.texts.remove_mark, { words: text }));
    button.disabled = !data.open;
    button.addEventListener("click", () => { rating.marks = rating.marks.filter((_, i) => i !== index); changed(); });
    const item = document.createElement("li");
    item.append(button);
    return item;
  }));
  for (const box of $("sentences").querySelectorAll("input")) {
    const [start, end] = [Number(box.dataset.start), Number(box.dataset.end)];
    box.checked = rating.marks.some((m) => m.start <= start && m.end >= end);
  }
}

// --- saving ----------------------------------------------------------------------------------------------

function status(kind, text) {
  $("status").className = kind;
  announce($("status"), text);
}

const clock = (at) => new Date(at).toLocaleTimeString(document.documentElement.lang, { hour12: false });

const drafts = new Drafts(data.id, data, (kind, detail) => {
  if (kind === "saving") status("", data.texts.saving);
  if (kind === "saved") status("good", fill(data.texts.saved, { time: clock(detail.saved_at) }));
  if (kind === "offline") status("warn", data.texts.offline);
  if (kind === "signed_out") status("bad", data.texts.signed_out);
  if (kind === "closed") status("bad", data.texts.closed);
  if (kind === "refused") status("bad", detail.error === "final" ? data.texts.final : fill(data.texts.refused, { reason: detail.error ?? "" }));
  if (kind === "adopted") {
    rating = { ...empty(), ...structuredClone(detail.rating ?? {}) };
    if (detail.saved_at) status("good", fill(data.texts.saved, { time: clock(detail.saved_at) }));
    show();
  }
  return kind === "conflict" ? ask($("conflict-dialog"), "mine") : undefined;
});

// A modal dialog's answer; `otherwise` where it was closed with Escape.
function ask(dialog, otherwise) {
  return new Promise((resolve) => {
    dialog.returnValue = otherwise;
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
    dialog.showModal();
  });
}

function changed(delay = 0) {
  if (!data.open || final) return;
  // Changed after it was finished: still finished, if nothing is missing now.
  if (rating.done && rating.skip === null && missing()) rating.done = false;
  show();
  drafts.change(rating, delay);
}

function score(key, value, moveOn) {
  if (!data.open || final) return;
  rating.scores = { ...rating.scores, [key]: value };
  const keys = asked();
  rating.scores = Object.fromEntries(Object.entries(rating.scores).filter(([k]) => keys.includes(k)));
  if (rating.skip !== null) { rating.skip = null; rating.done = false; }
  const next = missing();
  current = moveOn && next ? next : key;
  changed();
  // All scored: the next digit must not fall on an axis that nobody looks at any more.
  if (moveOn && next) focusAxis(next);
  else if (moveOn) $("submit").focus();
}

function focusAxis(key) {
  current = key;
  const inputs = [...fieldsets.get(key).querySelectorAll("input")];
  (inputs.find((input) => input.checked) ?? inputs[0]).focus();
  show();
}

async function finish(skip = null) {
  if (final) { leave(final.next); return; }
  if (!data.open) { leave(data.next); return; }
  const lacking = missing();
  if (skip === null && lacking) {
    status("warn", fill(data.texts.missing, { axis: axisOf(lacking).title }));
    focusAxis(lacking);
    return;
  }
  const before = drafts.saved;
  rating = { ...rating, skip, done: true };
  show();
  drafts.change(rating, 1e6);
  const answer = await drafts.flush();
  if (!answer) return;
  if (answer.feedback) showFeedback(answer.feedback, answer.next);
  else if ("next" in answer) leave(answer.next);
  else leave(before?.done ? data.next : null);
}

const leave = (id) => location.assign(id ? `/rate/${id}` : "/");

function showFeedback(feedback, next) {
  final = { next };
  const panel = $("feedback");
  const line = data.training ? data.texts.expected : data.texts.judged;
  panel.querySelector("ul").replaceChildren(...data.axes.filter(() => feedback.scores).map((axis) => {
    const item = document.createElement("li");
    const [expected, given] = [feedback.scores, rating.scores].map((scores) => scores[axis.key] ?? "–");
    item.textContent = `${axis.title}: ${fill(line, { expected, given })}`;
    return item;
  }));
  panel.querySelector("p").textContent = feedback.scores ? feedback.text : data.texts.unjudged;
  panel.hidden = false;
  for (const control of form.querySelectorAll("fieldset input, #marking button")) control.disabled = true;
  $("comment").readOnly = true;
  $("skip").hidden = true;
  $("submit").textContent = next ? data.texts.go_on : data.texts.all_done;
  panel.focus();
  panel.scrollIntoView({ block: "nearest" });
}

// --- marks -----------------------------------------------------------------------------------------------

function mark() {
  const found = selected($("answer"), data.answer);
  if (!found) { status("warn", data.texts.select_first); return; }
  getSelection().removeAllRanges();
  rating.marks = [...rating.marks, { axis: current, ...found }];
  changed();
}

for (const { text, start, end } of sentences(data.answer)) {
  const label = document.createElement("label");
  label.className = "sentence";
  const box = document.createElement("input");
  box.type = "checkbox";
  box.disabled = !data.open;
  Object.assign(box.dataset, { start, end });
  box.addEventListener("change", () => {
    rating.marks = box.checked
      ? [...rating.marks, { axis: current, start, end }]
      : rating.marks.filter((m) => !(m.start < end && m.end > start));
    changed();
  });
  label.append(box, text);
  $("sentences").append(label);
}

// --- hands -----------------------------------------------------------------------------------------------

for (const [key, fieldset] of fieldsets) {
  fieldset.addEventListener("focusin", () => { if (current !== key) { current = key; show(); } });
  fieldset.addEventListener("change", (event) => score(key, Number(event.target.value), false));
}
$("comment").addEventListener("input", () => { rating.comment = $("comment").value; changed(400); });
$("comment").addEventListener("blur", () => { if (data.open && !final) drafts.flush(); });
$("mark-button").addEventListener("click", mark);
$("mark-button").addEventListener("pointerdown", (event) => event.preventDefault()); // keeps the selection
form.addEventListener("submit", (event) => { event.preventDefault(); finish(); });
$("previous").disabled = !data.previous;
$("next").disabled = !data.next;
$("previous").addEventListener("click", () => move(data.previous));
$("next").addEventListener("click", () => move(data.next));
$("skip").hidden = !data.open;
$("submit").hidden = !data.open;
$("skip").addEventListener("click", async () => {
  const dialog = $("skip-dialog");
  for (const input of dialog.querySelectorAll("input")) input.required = true;
  if ((await ask(dialog, "cancel")) !== "skip") return;
  finish(dialog.querySelector("input:checked").value);
});
$("help-button").addEventListener("click", () => ask($("help-dialog"), "close"));

async function move(id) {
  if (!id) return;
  if (data.open && !final) await drafts.flush();
  leave(id);
}

const shortcuts = $("shortcuts");
shortcuts.checked = localStorage.getItem("shortcuts") !== "off";
shortcuts.addEventListener("change", () => localStorage.setItem("shortcuts", shortcuts.checked ? "on" : "off"));

addEventListener("keydown", (event) => {
  const target = event.target;
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || document.querySelector("dialog[open]")) return;
  if (target.matches("textarea, input:not([type=radio]):not([type=checkbox])")) return;
  const radio = target.matches("input[type=radio]");
  if (event.key === "Enter") {
    if (radio || target === document.body || target.matches("main, input[type=checkbox], section")) { event.preventDefault(); finish(); }
    return;
  }
  if (!shortcuts.checked) return;
  const axis = axisOf(current);
  const act = {
    "?": () => $("help-button").click(),
    m: mark,
    c: () => $("comment").focus(),
    ArrowLeft: () => move(data.previous),
    ArrowRight: () => move(data.next),
    // Among the scores the arrows are the browser's own.
    ...(radio ? {} : { ArrowUp: () => focusAxis(current), ArrowDown: () => focusAxis(current) }),
    ...(target.matches("button")
      ? {}
      : Object.fromEntries(axis.values.map((value) => [String(value), () => score(axis.key, value, true)]))),
  }[event.key];
  if (act) { event.preventDefault(); act(); }
});

// --- begin -----------------------------------------------------------------------------------------------

const left = data.open ? drafts.recover() : null;
if (left) rating = { ...empty(), ...left };
current = missing() ?? data.axes[0].key;
show();
status(data.saved_at ? "good" : "", data.saved_at ? fill(data.texts.saved, { time: clock(data.saved_at) }) : data.texts.not_yet);
if (data.feedback) showFeedback(data.feedback, data.next);
else if (left) drafts.flush();
