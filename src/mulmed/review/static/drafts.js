// Saving: every change goes to this browser's storage first, then to the server, one request at a time.
//
// A request whose outcome is unknown (lost network, closed tab) is sent again with the same id, which the server takes once.
// Only then does what was changed meanwhile follow. A conflict is put before the annotator; nothing is overwritten unasked.

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
// randomUUID would need HTTPS away from loopback.
const token = () => [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");
const sorted = (rating) => ({
  scores: Object.fromEntries(Object.entries(rating.scores).sort()),
  comment: rating.comment, marks: rating.marks, skip: rating.skip, done: rating.done,
});

export class Drafts {
  // `tell(kind, detail)` hears saving, saved, offline, conflict, signed_out, closed, refused.
  constructor(id, state, tell) {
    this.id = id;
    this.key = `rating ${id}`;
    this.version = state.version;
    this.saved = state.rating ? sorted(state.rating) : null;
    this.latest = this.saved;
    this.pending = null;
    this.tell = tell;
    this.busy = null;
    this.wait = 1000;
    this.timer = 0;
    addEventListener("online", () => this.flush());
  }

  // What an earlier visit could not send: the rating it left, or null.
  recover() {
    const text = localStorage.getItem(this.key);
    if (!text) return null;
    const kept = JSON.parse(text);
    this.pending = kept.pending;
    this.latest = kept.latest;
    if (!kept.pending && kept.version !== this.version && !same(kept.latest, this.saved)) {
      this.conflicting = true; // changed elsewhere while this draft lay here
    }
    return kept.latest;
  }

  change(rating, delay = 0) {
    this.latest = sorted(rating);
    this.keep();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.flush(), delay);
  }

  keep() {
    const settled = !this.pending && same(this.latest, this.saved);
    if (settled) localStorage.removeItem(this.key);
    else localStorage.setItem(this.key, JSON.stringify({ pending: this.pending, latest: this.latest, version: this.version }));
  }

  // Sends what is not saved yet. Resolves to the server's last answer, or null if not all could be saved.
  flush() {
    clearTimeout(this.timer);
    this.busy ??= this.run().finally(() => { this.busy = null; });
    return this.busy;
  }

  async run() {
    if (this.conflicting) return this.conflict(await this.fetchCurrent());
    let answer = {};
    while (this.pending || (this.latest && !same(this.latest, this.saved))) {
      this.pending ??= { request: token(), base: this.version, rating: this.latest };
      this.keep();
      this.tell("saving");
      let response;
      try {
        response = await fetch(`/api/ratings/${this.id}`, {
          method: "PUT", headers: { "Content-Type": "application/json" }, body: JSON.stringify(this.pending),
        });
        answer = await response.json();
      } catch {
        return this.later();
      }
      if (response.status >= 500) return this.later();
      if (response.ok) {
        this.saved = this.pending.rating;
        this.version = answer.version;
        this.pending = null;
        this.wait = 1000;
        this.keep();
        this.tell("saved", answer);
      } else if (response.status === 409) {
        if (answer.rating && same(sorted(answer.rating), this.latest)) { this.adopt(answer); return answer; }
        return this.conflict(answer);
      } else {
        this.pending = null;
        if (answer.error === "final") this.latest = this.saved; // nothing is left to send
        this.keep();
        if (response.status === 401) this.tell("signed_out");
        else if (response.status === 423) this.tell("closed");
        else this.tell("refused", answer);
        return null;
      }
    }
    return answer;
  }

  later() {
    this.tell("offline");
    this.timer = setTimeout(() => this.flush(), this.wait);
    this.wait = Math.min(2 * this.wait, 15000);
    return null;
  }

  async fetchCurrent() {
    const response = await fetch(`/api/ratings/${this.id}`);
    return response.json();
  }

  async conflict(current) {
    const choice = await this.tell("conflict", current);
    this.conflicting = false;
    this.pending = null;
    if (choice === "theirs") { this.adopt(current); return null; }
    this.version = current.version;
    this.saved = current.rating ? sorted(current.rating) : null;
    this.keep();
    return this.run();
  }

  adopt(current) {
    this.version = current.version;
    this.saved = this.latest = current.rating ? sorted(current.rating) : null;
    this.pending = null;
    localStorage.removeItem(this.key);
    this.tell("adopted", current);
  }
}
