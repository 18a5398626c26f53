// One question with its answer on the page. HTML comes from the service, already sanitised, and only into the blocks.

export const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, key) => values[key]);

export class View {
  constructor(exchange, texts) {
    this.texts = texts;
    this.element = document.getElementById("exchange").content.firstElementChild.cloneNode(true);
    this.find(".said").textContent = exchange.question;
    this.find(".task").textContent = texts[`task_${exchange.task}`];
  }

  find(selector) { return this.element.querySelector(selector); }

  show(selector, text) {
    const element = this.find(selector);
    element.hidden = !text;
    if (text !== undefined && text !== null) element.textContent = text;
    return element;
  }

  begin() {
    for (const selector of [".notice", ".outcome", ".details", ".acts", ".reasons", ".masked"]) this.find(selector).hidden = true;
    this.find(".blocks").replaceChildren();
    this.find(".blocks").setAttribute("aria-busy", "true");
    this.told = 0;
    this.labelled = false;
    this.find(".made").textContent = "";
    this.find(".disclaimer").textContent = "";
    this.find(".waiting").hidden = false;
  }

  // What the safety layer says before the first word.
  open(opening) {
    this.notice(opening.notice, opening.language);
    this.find(".made").textContent = opening.label;
    this.find(".made").lang = this.find(".disclaimer").lang = this.find(".blocks").lang = this.find(".said").lang = this.find(".masked-text").lang = opening.language;
    this.find(".disclaimer").textContent = opening.disclaimer;
    const count = Object.values(opening.masked).reduce((a, b) => a + b, 0);
    this.show(".reveal", count ? fill(count === 1 ? this.texts.masked_one : this.texts.masked_many, { count }) : "");
  }

  notice(text, language) {
    const notice = this.find(".notice");
    notice.hidden = true;
    notice.replaceChildren();
    if (!text) return;
    const head = document.createElement("strong");
    head.textContent = this.texts.emergency;
    const words = document.createElement("p");
    words.textContent = text;
    words.lang = language ?? "";
    notice.setAttribute("role", "alert");
    notice.setAttribute("aria-atomic", "true");
    notice.append(head, words);
    notice.hidden = false; // last, so that a screen reader hears it whole and in its order
  }

  blocks(first, blocks) {
    const place = this.find(".blocks");
    while (place.children.length > first) place.lastElementChild.remove();
    for (const html of blocks) {
      const block = document.createElement("div");
      block.innerHTML = html;
      place.append(block);
    }
  }

  // The words of the blocks before the one at `end` that nobody was told of yet; before the first, who wrote them. One text:
  // of several that change together screen readers may say the later first.
  untold(end) {
    const blocks = [...this.find(".blocks").children].slice(this.told, end);
    const words = blocks.map((block) => block.innerText.trim()).filter(Boolean);
    this.told = Math.max(this.told, end);
    if (words.length && !this.labelled) {
      words.unshift(this.find(".made").textContent + (this.find(".blocks").lang === "zh" ? "。" : "."));
      this.labelled = true;
    }
    return words.join("\n");
  }

  // Without the service, an earlier answer is shown as it was written.
  plain(text) {
    const block = document.createElement("p");
    block.className = "plain";
    block.textContent = text;
    this.find(".blocks").replaceChildren(block);
  }

  end(exchange, { words, details, canJudge }) {
    this.find(".waiting").hidden = true;
    this.find(".blocks").setAttribute("aria-busy", "false");
    this.show(".outcome", words);
    this.show(".details", details);
    this.find(".acts").hidden = false;
    this.find(".copy").hidden = !exchange.text;
    this.find(".judge").hidden = !canJudge;
  }

  masked(pieces) {
    this.find(".masked-text").replaceChildren(...pieces.map((piece, i) => {
      if (i % 2 === 0) return piece;
      const mark = document.createElement("mark");
      mark.textContent = piece;
      return mark;
    }));
  }
}
