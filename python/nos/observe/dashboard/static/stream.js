// The stream of events, read by fetch so that it can carry a token. It is taken up again whenever it ends, after a
// pause that grows and is never the same twice; the first event holds everything, so nothing can be missed.

const SILENCE_MS = 30_000; // the server says something each second
const FIRST_PAUSE_MS = 300;
const LONGEST_PAUSE_MS = 8_000;

const TOKEN = "nos-token";
const token = {
  get() { try { return sessionStorage.getItem(TOKEN); } catch { return null; } },
  set(value) { try { sessionStorage.setItem(TOKEN, value); } catch { /* it is asked for again */ } },
  forget() { try { sessionStorage.removeItem(TOKEN); } catch { /* there is none */ } },
};

// on: {event(kind, data), state(name, text)}; ask(why): a promise of a token.
export async function follow(on, ask) {
  let held = token.get();
  let failures = 0;
  let page = null; // what the server has for one
  for (;;) {
    const abort = new AbortController();
    let timer = setTimeout(() => abort.abort(), SILENCE_MS);
    try {
      const headers = held ? { Authorization: `Bearer ${held}` } : {};
      const answer = await fetch("api/events", { headers, signal: abort.signal, cache: "no-store" });
      if (answer.status === 401 || answer.status === 403) {
        clearTimeout(timer);
        const why = held || answer.status === 403 ? (await answer.text()).trim() : "";
        token.forget();
        on.state("refused", "A token is needed");
        held = await ask(why);
        token.set(held);
        continue;
      }
      page ??= answer.headers.get("Nos-Page");
      if (answer.ok && answer.headers.get("Nos-Page") !== page) location.reload(); // nos was upgraded
      if (!answer.ok) throw new Error((await answer.text()).trim());
      for await (const [kind, data] of events(answer.body)) {
        clearTimeout(timer);
        timer = setTimeout(() => abort.abort(), SILENCE_MS);
        if (kind === "state") {
          failures = 0;
          on.state("live", "Live");
        }
        try {
          on.event(kind, data);
        } catch (error) { // a fault of the page: the line is as good as before
          console.error(error);
        }
      }
    } catch (error) {
      if (error instanceof SyntaxError) console.error(error); // a fault of ours, not of the line
    }
    clearTimeout(timer);
    abort.abort();
    on.state("lost", "Reconnecting");
    const most = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures, 10));
    failures += 1;
    await new Promise((done) => setTimeout(done, most * (0.5 + Math.random() / 2)));
  }
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  const pieces = []; // of an event that has not ended
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    let rest = value;
    // An event may be large and come in many pieces: they are put together once.
    const joined = pieces.length && pieces.at(-1).endsWith("\n") && rest.startsWith("\n");
    if (joined || rest.includes("\n\n")) {
      rest = pieces.splice(0).join("") + rest;
      const parts = rest.split("\n\n");
      rest = parts.pop();
      for (const part of parts) yield parsed(part);
    }
    if (rest) pieces.push(rest);
  }
}

function parsed(event) {
  const fields = Object.fromEntries(
    event.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trimStart()]),
  );
  return [fields.event, JSON.parse(fields.data)];
}
