/**
 * Finds out within three seconds that the server does not answer. The stream itself is patient (a proxy may be slow), and tries again
 * with longer and longer waits; this page asks the server for a sign of life while it is looked at and nothing has come for a moment.
 */

// How long nothing may have come, how often that is looked at, and for an answer (ms): together under 3 s.
const QUIET = 1_000;
const EVERY = 400;
const PATIENCE = 1_400;
// In which of the client's phases there should be a server.
const WANTED = new Set(["live", "connecting", "waiting"]);
// What a proxy says in the place of a server that it cannot reach.
const AWAY = new Set([502, 503, 504]);

export class Reach {
  #client;
  #told;
  #heard = 0;
  #events = 0;
  #asking = false;

  /** Since when the server has not answered (ms since the epoch); null as long as it does. */
  silentSince = null;

  /** `told()` is called when that changes. */
  constructor(client, told) {
    this.#client = client;
    this.#told = told;
    setInterval(() => this.#look(), EVERY);
    addEventListener("offline", () => this.#look());
    addEventListener("online", () => this.#look());
    client.onNotice(() => (this.#heard = Date.now()));
  }

  async #look() {
    const { state, stats } = this.#client;
    if (stats.events !== this.#events) this.#heard = Date.now();
    this.#events = stats.events;
    if (document.hidden || this.#asking) return;
    if (!WANTED.has(state.phase) || Date.now() - this.#heard < QUIET) return this.#set(null);
    this.#asking = true;
    const asked = Date.now();
    try {
      const { status } = await fetch(`${this.#client.base}/livez`, { method: "HEAD", cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
      if (!AWAY.has(status)) this.#heard = Date.now();
      this.#set(AWAY.has(status) ? (this.silentSince ?? asked) : null);
    } catch {
      // It may have spoken meanwhile on the stream.
      if (this.#heard < asked) this.#set(this.silentSince ?? asked);
    }
    this.#asking = false;
  }

  #set(since) {
    if (this.silentSince === since) return;
    this.silentSince = since;
    if (since) this.#client.board.check();
    this.#told();
  }
}
