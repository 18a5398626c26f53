// The chat page: sends, streams, stops, tries again, and keeps the conversation in this tab.

import { announce } from "/static/shared/announce.js";
import { Refused, call, events, onKeyWanted } from "./calls.js";
import { asFile, keep, read, turns, whole } from "./history.js";
import { View, fill } from "./view.js";

const data = JSON.parse(document.getElementById("data").textContent);
const { texts } = data;
const $ = (id) => document.getElementById(id);
const message = $("message");
const exchanges = read();
const views = [];
let running = null; // what stops the answer that is being written

const task = () => document.querySelector("input[name=task]:checked").value;
const tell = (text) => announce($("status"), text);
const save = () => { if (!keep(exchanges)) tell(texts.keep_failed); };

// --- the form ----------------------------------------------------------------------------------------------

function showForm() {
  $("message-label").textContent = texts[`label_${task()}`];
  message.placeholder = texts[`label_${task()}`];
  $("hint").textContent = texts[`hint_${task()}`];
  $("send").hidden = Boolean(running);
  $("stop").hidden = !running;
  $("welcome").hidden = exchanges.length > 0;
  for (const id of ["new", "export", "print"]) $(id).disabled = !exchanges.length || Boolean(running);
}

function remember() {
  sessionStorage.setItem("form", JSON.stringify({ task: task(), audience: $("audience").value, message: message.value }));
}

function recall() {
  const kept = JSON.parse(sessionStorage.getItem("form") ?? "{}");
  if (kept.task) document.querySelector(`input[name=task][value="${kept.task}"]`).checked = true;
  if (kept.audience) $("audience").value = kept.audience;
  message.value = kept.message ?? "";
}

$("composer").addEventListener("input", () => { remember(); showForm(); });
$("audience").addEventListener("change", () => {
  exchanges.forEach((exchange, i) => { if (exchange.state !== "writing") finish(i); });
});
message.addEventListener("keydown", (event) => {
  // While an input method composes, Enter chooses a word; some browsers say so by the key code alone.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  $("composer").requestSubmit();
});
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && running && !document.querySelector("dialog[open]")) stop();
});
$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const question = message.value.trim();
  if (question && running) tell(texts.writing);
  if (!question || running) return;
  exchanges.push({ task: task(), audience: $("audience").value, question, text: "", state: "writing", opening: null, closing: null });
  message.value = "";
  remember();
  add(exchanges.length - 1);
  answer(exchanges.length - 1);
});
$("stop").addEventListener("click", stop);

function stop() {
  running?.abort();
  message.focus();
}

// --- an answer ---------------------------------------------------------------------------------------------

async function answer(index, another = false) {
  const exchange = exchanges[index];
  const view = views[index];
  Object.assign(exchange, { text: "", state: "writing", opening: null, closing: null, judged: false });
  running = new AbortController();
  view.begin();
  showForm();
  tell(texts.writing);
  follow(view.element, true);
  const began = performance.now();
  try {
    const body = { task: exchange.task, audience: exchange.audience, turns: turns(exchanges, index), another };
    for await (const [name, said] of events(await call("/v1/page/send", body, running.signal))) {
      const near = atEnd();
      if (name === "opening") {
        exchange.opening = said;
        view.open(said);
      } else if (name === "blocks") {
        exchange.text += said.text;
        view.blocks(said.first, said.blocks);
        speak(view.untold(said.first + said.blocks.length - 1), exchange.opening.language);
      } else if (name === "closing") {
        exchange.closing = { ...said, seconds: (performance.now() - began) / 1000 };
        exchange.state = said.finish === "length" ? "cut" : "done";
        speak(view.untold(Infinity), exchange.opening.language);
      } else if (name === "error") {
        throw new Refused(said.error.code === "shutting_down" ? 503 : said.error.code === "deadline_exceeded" ? 504 : "failed", said.error);
      }
      if (near) follow(view.element);
      save();
    }
    if (exchange.state === "writing") throw new Refused("failed"); // the stream ended before its end
  } catch (error) {
    if (error.name === "AbortError") exchange.state = "stopped";
    else if (error instanceof Refused) {
      exchange.state = `refused ${error.kind} ${error.seconds ?? ""}`.trim();
      if (error.body?.notice) { exchange.notice = error.body.notice; }
    } else exchange.state = "refused offline"; // the connection broke off within the stream
  }
  running = null;
  save();
  finish(index);
  showForm();
  // Not at once with the last words, or screen readers say it before them.
  setTimeout(() => { if (!running) tell(outcome(exchange, view)); }, 300);
  follow(view.element);
}

// Screen readers are told of a block once, when it is finished: what is shown is written over and over as the answer grows.
function speak(text, language) {
  if (!text) return;
  const words = document.createElement("p");
  words.lang = language;
  words.textContent = text;
  $("told").append(words);
  setTimeout(() => words.remove(), 5000); // or it would be found again below the conversation
}

// What is said below an answer that is not simply complete.
function words(exchange) {
  const [state, kind, seconds] = exchange.state.split(" ");
  if (state === "stopped") return texts.stopped;
  if (state === "cut") return texts.cut;
  if (state === "writing") return texts.interrupted;
  if (state === "done") return exchange.text ? "" : texts.empty;
  const text = texts[`error_${kind}`] ?? (kind === "offline" ? texts.offline : texts.failed);
  return fill(text, { seconds: seconds ?? 10 });
}

const outcome = (exchange, view) =>
  [exchange.state === "done" ? texts.done : words(exchange), view.find(".reveal").textContent].filter(Boolean).join(" ");

function details(exchange) {
  if ($("audience").value !== "clinician" || !exchange.opening || !exchange.closing) return "";
  const flags = exchange.opening.flags.map((f) => `${f.category} (${texts[f.certainty]})`).join(", ");
  const policy = Object.entries(exchange.closing.policy).map(([what, times]) => `${what} ${times}`).join(", ");
  const [prompt, written] = exchange.closing.tokens;
  const seconds = exchange.closing.seconds.toFixed(1);
  return fill(texts.details, { flags: flags || texts.none, policy: policy || texts.none, prompt, written, seconds });
}

function finish(index) {
  const exchange = exchanges[index];
  if (exchange.notice && !exchange.opening) views[index].notice(exchange.notice);
  const canJudge = data.feedback && ["done", "cut"].includes(exchange.state) && !exchange.judged;
  views[index].end(exchange, { words: words(exchange), details: details(exchange), canJudge });
}

// --- one exchange's buttons --------------------------------------------------------------------------------

function add(index) {
  const exchange = exchanges[index];
  const view = new View(exchange, texts);
  views[index] = view;
  const on = (selector, act) => view.find(selector).addEventListener("click", act);
  on(".copy", async () => { await copy(whole(exchange)); tell(texts.copied); });
  on(".retry", () => {
    if (running) return;
    const another = exchange.state === "done" || exchange.state === "cut";
    answer(index, another);
    message.focus();
  });
  on(".reveal", () => reveal(index));
  on(".good", () => judge(index, true, null));
  on(".bad", () => {
    const open = view.find(".reasons").hidden;
    view.find(".reasons").hidden = !open;
    view.find(".bad").setAttribute("aria-expanded", String(open));
    if (open) view.find(".reasons button").focus();
  });
  view.find(".reasons").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) judge(index, false, button.value || null);
  });
  $("log").append(view.element);
}

async function reveal(index) {
  const view = views[index];
  const panel = view.find(".masked");
  const open = panel.hidden;
  if (open) {
    try {
      const { pieces } = await (await call("/v1/page/masked", { turns: turns(exchanges, index) })).json();
      view.masked(pieces);
    } catch (error) {
      tell(error.kind === "offline" ? texts.offline : texts.failed);
      return;
    }
  }
  panel.hidden = !open;
  if (open) speak(view.find(".masked-text").textContent, exchanges[index].opening?.language ?? "");
  view.find(".reveal").setAttribute("aria-expanded", String(open));
}

async function judge(index, good, reason) {
  const exchange = exchanges[index];
  views[index].find(".reasons").hidden = true;
  try {
    await call("/v1/page/judge", { request: exchange.opening.id, good, reason });
    tell(texts.thanks);
  } catch (error) {
    if (error.kind === "offline") { tell(texts.offline); return; }
    tell(texts.not_judged);
  }
  exchange.judged = true;
  save();
  views[index].find(".judge").hidden = true;
  message.focus();
}

async function copy(text) {
  if (navigator.clipboard) { await navigator.clipboard.writeText(text); return; }
  const area = document.createElement("textarea"); // away from loopback without HTTPS there is no clipboard
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

// --- the page ----------------------------------------------------------------------------------------------

const atEnd = () => innerHeight + scrollY > document.documentElement.scrollHeight - 160;
function follow(element, whatever = false) {
  if (whatever) element.scrollIntoView({ block: "start" });
  else scrollTo({ top: document.documentElement.scrollHeight });
}

const ask = (dialog) => new Promise((resolve) => {
  dialog.returnValue = "";
  dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
  dialog.showModal();
});
$("help-button").addEventListener("click", () => ask($("help-dialog")));
onKeyWanted(async () => {
  $("key").value = "";
  return (await ask($("key-dialog"))) === "ok" ? $("key").value.trim() : null;
});
$("new").addEventListener("click", async () => {
  if ((await ask($("new-dialog"))) !== "ok") return;
  exchanges.length = views.length = 0;
  $("log").replaceChildren();
  save();
  showForm();
  tell(texts.new);
  message.focus();
});
$("export").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([asFile(exchanges, texts)], { type: "text/markdown" }));
  link.download = `${texts.file}.md`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  tell(texts.saved);
});
$("print").addEventListener("click", () => print());
$("examples").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  document.querySelector(`input[name=task][value="${button.dataset.task}"]`).checked = true;
  message.value = button.dataset.text;
  remember();
  showForm();
  message.focus();
});

async function begin() {
  recall();
  exchanges.forEach((exchange, i) => {
    add(i);
    if (exchange.state === "writing") exchange.state = "stopped"; // the page was loaded again meanwhile
    views[i].begin();
    if (exchange.opening) {
      views[i].open(exchange.opening);
      views[i].find(".notice").removeAttribute("role"); // it was told when it was new
    }
    if (exchange.text) views[i].plain(exchange.text);
    finish(i);
  });
  showForm();
  if (!exchanges.length) return;
  try {
    const { rendered } = await (await call("/v1/page/render", { texts: exchanges.map((e) => e.text) })).json();
    rendered.forEach((blocks, i) => { if (exchanges[i]?.state !== "writing") views[i].blocks(0, blocks); });
  } catch (error) {
    tell(error.kind === "offline" ? texts.offline : "");
  }
}

begin();
