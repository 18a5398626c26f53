// The conversation, kept in this tab alone: it survives loading the page again, and ends with the tab.

const KEY = "conversation";

export function read() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
    return Array.isArray(kept) ? kept : [];
  } catch {
    return [];
  }
}

// Whether it could be kept.
export function keep(exchanges) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(exchanges));
    return true;
  } catch {
    return false;
  }
}

// The turns that are sent with a message: in a dialogue the earlier questions and answers on the page, else none.
export function turns(exchanges, index) {
  const { task, question } = exchanges[index];
  const earlier = task === "dialogue"
    ? exchanges.slice(0, index).filter((e) => e.task !== "summary" && e.text.trim()).flatMap((e) => [e.question, e.text])
    : [];
  return [...earlier, question];
}

// An answer as it may leave the page: never without the notice and the note that a computer wrote it.
export function whole(exchange) {
  const { notice, label, disclaimer, language } = exchange.opening;
  return [notice && `⚠ ${notice}`, exchange.text, `— ${label}${language === "zh" ? "。" : ". "}${disclaimer}`].filter(Boolean).join("\n\n");
}

export function asFile(exchanges, texts) {
  const parts = exchanges.map((e) => {
    const answer = e.opening ? whole(e) : "…";
    return `## ${texts.you} (${texts[`task_${e.task}`]})\n\n${e.question}\n\n## ${texts.answer}\n\n${answer}\n`;
  });
  return parts.join("\n");
}
