// What the page asks the service for. If the service wants a key, the user is asked for it once a tab.

let askForKey = async () => null;
export const onKeyWanted = (ask) => { askForKey = ask; };

export class Refused extends Error {
  // `kind`: an HTTP status, "offline", "interrupted" or "failed"; `body`: the service's own words about it.
  constructor(kind, body = {}, seconds = null) {
    super(String(kind));
    Object.assign(this, { kind, body, seconds });
  }
}

export async function call(path, body, signal) {
  for (;;) {
    const headers = { "Content-Type": "application/json" };
    const key = sessionStorage.getItem("key");
    if (key) headers.Authorization = `Bearer ${key}`;
    let response;
    try {
      response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body), signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refused("offline");
    }
    if (response.ok) return response;
    if (response.status === 401) {
      sessionStorage.removeItem("key");
      const given = await askForKey();
      if (!given) throw new Refused(401);
      sessionStorage.setItem("key", given);
      continue;
    }
    const said = await response.json().catch(() => ({}));
    throw new Refused(response.status, said.error, response.headers.get("Retry-After"));
  }
}

// The events of a stream, one after the other: [name, document].
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let begun = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (begun + value).split("\n\n");
      begun = parts.pop();
      for (const part of parts) {
        const lines = part.split("\n");
        const name = lines.find((line) => line.startsWith("event: "))?.slice(7);
        const data = lines.find((line) => line.startsWith("data: "))?.slice(6);
        if (name && data) yield [name, JSON.parse(data)];
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
