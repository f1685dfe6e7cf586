/** Reads any stream of server-sent events, once for all who ask for the same address. */

import { Backoff, Pause, later, reachable } from "./backoff.js";
import { Refusal, bearer, freshen } from "./http.js";
import { IDLE } from "./subscription.js";
import { pieces } from "./transports.js";

// Browsers have six connections to a host over HTTP/1.1, for all tabs. One is for the events of all subscriptions, the others
// for what else a page asks: further streams wait until one of these ends.
const MAX_OPEN = 3;
// Who comes later gets so many pieces of what the others had.
const KEPT = 1_000;
// Comments are due every 15 s, or as often as `ready` says; a new connection 2 s after one was.
const SILENCE = 17_000;

const waiting = [];
let open = 0;

async function place() {
  if (open < MAX_OPEN) open += 1;
  else await new Promise((resolve) => waiting.push(resolve));
}

function leave() {
  const next = waiting.shift();
  if (next) next();
  else open -= 1;
}

/** Has the methods of a channel. Each piece is an event `{event_type, data, id}`; its type is the stream's name for it, or `message`. */
export class Source {
  #way;
  #asks;
  #subscribers = new Set();
  #kept = [];
  #life = null;
  #connection = null;
  #pause = new Pause();
  #backoff;
  #last = "";
  #hint = 0;
  #over = false;
  #state = IDLE;

  constructor(way, _rest, asks) {
    this.#way = way;
    this.#asks = asks;
    this.#backoff = new Backoff(way.backoff);
  }

  get size() {
    return this.#subscribers.size;
  }

  fits() {
    return true;
  }

  add(subscriber) {
    this.#subscribers.add(subscriber);
    subscriber.send({ say: "state", state: this.#state });
    for (const piece of this.#kept) subscriber.give(piece);
    if (this.#life || this.#over) return;
    this.#life = new AbortController();
    this.#live(this.#life.signal);
  }

  remove(subscriber) {
    subscriber.leave();
    this.#subscribers.delete(subscriber);
  }

  close() {
    this.#life?.abort();
  }

  retry() {
    this.#backoff.reset();
    this.#pause.wake();
  }

  suspect() {
    this.#pause.wake();
  }

  rest() {}

  async #live(signal) {
    while (!signal.aborted && !this.#over) {
      let wait = Infinity;
      if (reachable(this.#way.source)) {
        this.#set({ phase: "connecting", retryAt: null });
        await place();
        wait = signal.aborted ? 0 : await this.#read(signal);
        leave();
      }
      if (signal.aborted || this.#over) break;
      const retryAt = Number.isFinite(wait) ? Date.now() + wait : null;
      this.#set({ phase: retryAt ? "waiting" : this.#state.code ? "refused" : "offline", transport: null, retryAt });
      await this.#pause.for(wait, signal);
    }
    if (this.#over) this.#set({ phase: "ended", transport: null });
  }

  async #read(signal) {
    const connection = (this.#connection = new AbortController());
    const ended = AbortSignal.any([signal, connection.signal]);
    let heard = Date.now();
    let silence = SILENCE;
    let silent = false;
    const watchdog = setInterval(() => {
      silent = Date.now() - heard > silence;
      if (silent) connection.abort();
    }, 500);
    try {
      const response = await fetch(this.#way.source, {
        headers: {
          Accept: "text/event-stream",
          ...bearer(await this.#asks.token(false)),
          ...(this.#last && { "Last-Event-ID": this.#last }),
        },
        cache: "no-store",
        signal: ended,
      });
      if (response.status === 204) this.#over = true;
      else if (!response.ok) throw await Refusal.of(response);
      else {
        this.#backoff.reset();
        this.#set({ phase: "live", transport: "sse", reason: "", code: "" });
        const link = { heard: () => (heard = Date.now()), hint: (milliseconds) => (this.#hint = milliseconds), signal: ended };
        for await (const piece of pieces(response, link)) silence = this.#take(piece) || silence;
      }
    } catch (fault) {
      if (fault instanceof Refusal) {
        this.#set({ reason: fault.message, code: fault.code || String(fault.status) });
        return later(fault, this.#backoff);
      }
    } finally {
      clearInterval(watchdog);
      if (silent) await freshen(this.#way.base, {});
    }
    return this.#backoff.next(this.#hint);
  }

  #take({ name, data, id }) {
    if (id) this.#last = id;
    let said = data;
    try {
      said = JSON.parse(data);
    } catch {
      // Not JSON: a text, such as `[DONE]`.
    }
    const piece = { event_type: name || "message", data: said, id };
    this.#kept.push(piece);
    if (this.#kept.length > KEPT) this.#kept.shift();
    for (const each of this.#subscribers) each.give(piece);
    // The documents' streams end by a piece of this name; the connection's end follows, and is no failure.
    if (name === "complete" || name === "close" || (name === "bye" && said.reconnect === false)) {
      this.#over = true;
      this.#connection.abort();
    }
    if (name === "ready") return said?.heartbeat_seconds * 1250 + 2_000;
  }

  #set(change) {
    this.#state = { ...this.#state, ...change };
    for (const each of this.#subscribers) each.send({ say: "state", state: this.#state });
  }
}
