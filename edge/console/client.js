/**
 * Reads events from Callboard in a page: one session, one connection at a time, no event lost or seen twice.
 *
 *     const client = new CallboardClient({ session: { subjects: ["agent.>"] }, last: 50 });
 *     client.on("progress", (event) => console.log(event.subject, event.data.progress));
 *     client.onState(({ phase, transport }) => console.log(phase, transport));
 *     client.start();
 *
 * It connects by WebSocket, falls back to server-sent events and then to long polling, and after any drop it resumes
 * behind the last event it handed out. Frames (pictures) are another matter: see `FrameStream`.
 */

import { Backoff, Pause, reachable } from "./backoff.js";
import { Refusal, TRANSPORTS } from "./transports.js";

export { FrameStream } from "./frames.js";

// A connection must have lived this long before its end counts as the first failure again.
const STEADY = 5_000;
// Tries without a `ready` before another transport gets its turn.
const STRIKES = 2;
// How long a fallback is good enough before the preferred transport is tried again.
const FALLBACK_LIFE = 300_000;
// From connecting to `ready`.
const OPENING = 10_000;

// Close codes of the server that have an answer of their own; else 4000–4499 say come back, 4500–4999 stay away.
const CLOSED = Object.freeze({ expired: 4003, noSession: 4505, badCursor: 4506 });

// `1-<epoch>-<sequence>`, and mostly `-<check>` behind it.
const placeOf = (cursor) => {
  const [, epoch, sequence] = cursor.split("-");
  return { epoch, sequence };
};

/** Tells the server's time from this machine's, to within half a round trip. */
class ServerClock {
  #offset = 0;
  #error = Infinity;

  /** The server said `time` at some moment between `sent` and `received`. */
  measure(time, sent, received) {
    const error = (received - sent) / 2;
    if (!Number.isFinite(time) || error > this.#error) return;
    this.#error = error;
    // Two clocks that may be one are taken for one: on a single machine latencies are then exact.
    this.#offset = time >= sent - 5 && time <= received + 5 ? 0 : time - (sent + received) / 2;
  }

  now() {
    return Date.now() + this.#offset;
  }

  get offset() {
    return this.#offset;
  }
}

export class CallboardClient {
  #listeners = new Map();
  #stateListeners = new Set();
  #noticeListeners = new Set();
  #backoff;
  #pause = new Pause();
  #life = null;
  #session = null;
  #cursor = null;
  #strikes = 0;
  #choice = 0;
  #doubt = false;
  #farewell = null;
  #latencies = [];
  #liveSince = Infinity;

  clock = new ServerClock();
  stats = { events: 0, duplicates: 0, gaps: 0, connections: 0 };

  /**
   * `session` is the body of `POST /callbacks/sessions`; `last` is how much history a client without a cursor starts with.
   * `token` is a token, or a function that gives the newest one (or a promise of it): asked again before the old one ends.
   */
  constructor({
    base = location.origin,
    session = {},
    token = null,
    cursor = null,
    last = 0,
    transports = ["websocket", "sse", "polling"],
    storage = null,
    silence = 35_000,
    backoff = {},
  } = {}) {
    this.base = base.replace(/\/$/, "");
    this.token = token;
    this.spec = { delivery_method: "websocket", ...session };
    this.last = last;
    this.transports = transports;
    this.storage = storage;
    this.silence = silence;
    this.#cursor = cursor;
    this.#backoff = new Backoff(backoff);
    this.state = Object.freeze({ phase: "idle", transport: null, session: null, retryAt: null, reason: "", code: "" });
  }

  /** Where the client would resume: behind the last event it handed out. */
  get cursor() {
    return this.#cursor;
  }

  /** Half of the latest live events took at most this many milliseconds from their birth to this page; null before any. */
  get latency() {
    if (!this.#latencies.length) return null;
    return [...this.#latencies].sort((a, b) => a - b)[this.#latencies.length >> 1];
  }

  /** Calls `listener` with each event of this type ('*' for all) and returns a function that ends it. */
  on(type, listener) {
    if (!this.#listeners.has(type)) this.#listeners.set(type, new Set());
    this.#listeners.get(type).add(listener);
    return () => this.#listeners.get(type).delete(listener);
  }

  /** Calls `listener` now and on every change of state: idle, connecting, live, waiting, offline, refused, closed. */
  onState(listener) {
    this.#stateListeners.add(listener);
    listener(this.state);
    return () => this.#stateListeners.delete(listener);
  }

  /** Calls `listener` with each notice of the server that is no event: ready, gap, bye. */
  onNotice(listener) {
    this.#noticeListeners.add(listener);
    return () => this.#noticeListeners.delete(listener);
  }

  /** Connects, and stays connected until `close`. Calling it again changes nothing. */
  start() {
    if (this.#life) return;
    this.#life = new AbortController();
    const { signal } = this.#life;
    const wake = () => this.#pause.wake();
    addEventListener("online", wake, { signal });
    addEventListener("offline", wake, { signal });
    this.#live(signal);
  }

  /** Leaves the server; the cursor stays, and `start` resumes there. */
  close() {
    this.#life?.abort();
    this.#life = null;
    this.#set({ phase: "closed", transport: null, retryAt: null, reason: "" });
  }

  /** Cuts a wait short: tries again now, also where the server had said to stay away. */
  retry() {
    this.#backoff.reset();
    this.#pause.wake();
  }

  /** Reads something else of the server, with the client's token. Throws Refusal, or what `fetch` throws. */
  get(path) {
    return this.#ask("GET", path);
  }

  /** Changes something else of the server, such as an alert; returns the answer. Throws Refusal, or what `fetch` throws. */
  post(path, body = {}) {
    return this.#ask("POST", path, body);
  }

  /** Asks an actor for something: `command("agent", "main", "stop", { run: "run-42" })`. Throws Refusal, or what `fetch` throws. */
  command(actor, instance, name, body) {
    return this.#ask("POST", `/commands/${[actor, instance, name].map(encodeURIComponent).join("/")}`, body);
  }

  /** What a browser puts into an address where it can send no token: `ticket({ camera: "main" })`. Null without a token. */
  async ticket(wish, signal) {
    if (!(await this.#proof()).Authorization) return null;
    return (await this.#ask("POST", "/tickets", wish, signal)).ticket;
  }

  /** Reads the last events of some subjects once, beside the stream. */
  async history(subjects, last = 100) {
    const session = await this.#ask("POST", "/callbacks/sessions", { delivery_method: "polling", subjects, last });
    const path = `/callbacks/sessions/${encodeURIComponent(session.session_id)}`;
    try {
      const position = session.cursor ? { cursor: session.cursor } : { last };
      const page = await this.#ask("GET", `${path}/events?${new URLSearchParams({ ...position, limit: last, wait: 0 })}`);
      return page.events;
    } finally {
      this.#ask("DELETE", path).catch(() => {});
    }
  }

  // One loop, one connection: the next is opened only after the one before has ended.
  async #live(signal) {
    while (!signal.aborted) {
      if (!reachable(this.base)) {
        this.#set({ phase: "offline", transport: null, retryAt: null, reason: "this device is offline" });
        await this.#pause.for(Infinity, signal);
        continue;
      }
      const wait = await this.#turn(signal);
      if (signal.aborted) return;
      const retryAt = Number.isFinite(wait) ? Date.now() + wait : null;
      this.#set({ phase: retryAt ? "waiting" : "refused", transport: null, retryAt });
      await this.#pause.for(wait, signal);
    }
  }

  /** One attempt, from session to the end of the connection. Returns how long to wait, Infinity to stay away. */
  async #turn(signal) {
    this.#set({ phase: "connecting", retryAt: null });
    this.#farewell = null;
    let end = { reason: "" };
    try {
      await this.#enter(signal);
      end = await this.#connect(signal);
      if (signal.aborted) return 0;
    } catch (fault) {
      if (signal.aborted) return 0;
      if (fault instanceof Refusal) return this.#refused(fault);
      // What is left is the network's: `fetch` says TypeError, an abort by the watchdog says why.
      end = { reason: fault.reason ?? "the server cannot be reached" };
    }
    return this.#ended(end);
  }

  #refused(refusal) {
    this.#set({ reason: refusal.message, code: refusal.code });
    if (refusal.status === 404) {
      this.#forget();
      return this.#backoff.next();
    }
    const later = refusal.status === 429 || refusal.status === 408 || refusal.status >= 500;
    return later ? Math.max(refusal.retryAfter ?? 0, this.#backoff.next()) : Infinity;
  }

  #ended({ code = 0, reason = "", ready = false, lived = 0 }) {
    if (lived > STEADY) this.#backoff.reset();
    this.#doubt = !ready;
    const bye = this.#farewell;
    const why = bye?.reason || reason || (ready ? "the connection dropped" : "the server cannot be reached");
    this.#set({ reason: String(why) });
    // What a refused handshake cannot tell a browser, the server tells by the code it closes with.
    if (code === CLOSED.noSession) {
      this.#forget();
      return this.#backoff.next();
    }
    if (code === CLOSED.badCursor && this.#cursor) {
      this.#control({ control: "gap", from: this.#cursor, to: null });
      this.#cursor = null;
      return this.#backoff.next();
    }
    if (code === CLOSED.expired || bye?.reason === "token_expired") this.#doubt = true;
    if (bye ? bye.reconnect === false : code >= 4500 && code < 5000) return Infinity;
    const told = Number(bye?.delay_ms);
    // A server that drains tells everybody the same delay; spread over half of it again, they do not come back as one.
    if (told >= 0) return Math.max(told * (1 + Math.random() / 2), lived > STEADY ? 0 : this.#backoff.next());
    return this.#backoff.next();
  }

  /** Makes sure there is a session, and in doubt that the server still knows it. */
  async #enter(signal) {
    this.#session ??= this.#remembered();
    if (this.#session && !this.#doubt) return;
    if (this.#session) {
      try {
        await this.#ask("GET", `/callbacks/sessions/${encodeURIComponent(this.#session)}`, undefined, signal);
        this.#strikes += 1;
        if (this.#strikes >= STRIKES) {
          this.#choice = (this.#choice + 1) % this.transports.length;
          this.#strikes = 0;
        }
        return;
      } catch (fault) {
        if (!(fault instanceof Refusal) || fault.status !== 404) throw fault;
        this.#forget();
      }
    }
    const answer = await this.#create(signal);
    this.#session = answer.session_id;
    // Asked for history, the stream must start with it; else with what happens from the session's birth on.
    if (!this.#cursor && !this.last) this.#cursor = answer.cursor ?? null;
    this.storage?.setItem("callboard.session", JSON.stringify({ id: this.#session, spec: this.#key() }));
  }

  async #create(signal) {
    const from = this.#cursor ? { cursor: this.#cursor } : {};
    try {
      return await this.#ask("POST", "/callbacks/sessions", { ...this.spec, ...from }, signal);
    } catch (fault) {
      if (!this.#cursor || !(fault instanceof Refusal) || ![400, 409, 410, 422].includes(fault.status)) throw fault;
      // A cursor that nobody knows any more: say so, and begin anew.
      const lost = this.#cursor;
      this.#cursor = null;
      const answer = await this.#ask("POST", "/callbacks/sessions", this.spec, signal);
      this.#control({ control: "gap", from: lost, to: answer.cursor ?? null });
      return answer;
    }
  }

  async #connect(signal) {
    const transport = this.transports[this.#choice];
    const connection = new AbortController();
    const stop = () => connection.abort();
    signal.addEventListener("abort", stop, { once: true });
    const began = Date.now();
    const watch = { ready: 0, heard: began, silent: false };
    const watchdog = setInterval(() => {
      const limit = watch.ready ? this.silence : Math.min(OPENING, this.silence);
      const stale = this.#choice > 0 && Date.now() - began > FALLBACK_LIFE;
      watch.silent = Date.now() - watch.heard > limit;
      if (watch.silent || stale || !reachable(this.base)) connection.abort();
    }, Math.min(1_000, this.silence / 4));
    const path = `/callbacks/sessions/${encodeURIComponent(this.#session)}`;
    const link = {
      url: (rest) => this.base + path + rest,
      query: this.#cursor ? { cursor: this.#cursor } : this.last ? { last: this.last } : {},
      signal: connection.signal,
      headers: await this.#proof(),
      ticket: () => this.ticket({ session_id: this.#session, transport }, connection.signal),
      heard: () => (watch.heard = Date.now()),
      take: (object) => {
        if (connection.signal.aborted) return;
        if (object.control === "ready") {
          watch.ready = Date.now();
          this.#ready(transport, object, began, watch.ready);
        }
        this.#take(object);
        if (object.control === "bye") connection.abort();
      },
    };
    let end;
    try {
      end = await TRANSPORTS[transport](link);
    } catch (fault) {
      if (fault instanceof Refusal) throw fault;
      end = { reason: "" };
    } finally {
      clearInterval(watchdog);
      signal.removeEventListener("abort", stop);
      connection.abort();
    }
    if (this.#choice > 0 && Date.now() - began > FALLBACK_LIFE) this.#choice = 0;
    const reason = watch.silent ? "nothing was heard for too long" : end.reason;
    return { ...end, reason, ready: watch.ready > 0, lived: watch.ready ? Date.now() - watch.ready : 0 };
  }

  #ready(transport, notice, sent, received) {
    this.#strikes = 0;
    this.stats.connections += 1;
    this.#liveSince = Date.parse(notice.server_time) || this.clock.now();
    // The handshake's own steps lie before the server's clock was read, so its first half is the longer one.
    this.clock.measure(Date.parse(notice.server_time), sent, received);
    this.#set({ phase: "live", transport, session: this.#session, reason: "", code: "", retryAt: null });
  }

  #take(object) {
    if (object.control) {
      this.#control(object);
      return;
    }
    const { cursor } = object;
    if (cursor && !this.#follows(cursor)) {
      this.stats.duplicates += 1;
      return;
    }
    if (cursor) this.#cursor = cursor;
    this.stats.events += 1;
    this.#time(object);
    for (const type of [object.event_type, "*"]) {
      for (const listener of this.#listeners.get(type) ?? []) {
        guarded(listener, object);
      }
    }
  }

  #control(notice) {
    // Only a position says that everything before it was sent; a heartbeat's or a ready's cursor may be ahead of a replay.
    if (notice.control === "position" && notice.cursor && this.#follows(notice.cursor)) this.#cursor = notice.cursor;
    if (notice.control === "bye") {
      this.#farewell = notice;
      // Where to come back: mostly where we are, and before that where the server has found that we missed something.
      if (notice.cursor) this.#cursor = notice.cursor;
    }
    if (notice.control === "gap") {
      this.stats.gaps += 1;
      // In another life of the stream the same sequences are other events, also where the epoch is the same.
      if (notice.reset) this.#cursor = notice.cursor ?? notice.to ?? this.#cursor;
    }
    if (notice.control === "expiring") this.#refresh();
    if (notice.control === "position" || notice.control === "heartbeat") return;
    for (const listener of this.#noticeListeners) guarded(listener, notice);
  }

  /** The token ends: where there is a newer one, the connection goes on with it, whatever its transport. */
  #refresh() {
    if (typeof this.token !== "function") return;
    // Where this fails the server closes the connection, and the next one says why.
    this.#ask("POST", `/callbacks/sessions/${encodeURIComponent(this.#session)}/refresh`).catch(() => {});
  }

  async #proof() {
    const token = typeof this.token === "function" ? await this.token() : this.token;
    return token ? { Authorization: `Bearer ${token}` } : {};
  }

  /** Whether this cursor lies behind the last one seen. A new epoch is a new stream: it always does. */
  #follows(cursor) {
    if (!this.#cursor) return true;
    const [next, last] = [placeOf(cursor), placeOf(this.#cursor)];
    return next.epoch !== last.epoch || next.sequence > last.sequence;
  }

  #time({ timestamp }) {
    const born = Date.parse(timestamp);
    if (!(born >= this.#liveSince)) return;
    this.#latencies.push(Math.max(0, this.clock.now() - born));
    if (this.#latencies.length > 64) this.#latencies.shift();
  }

  #key() {
    return JSON.stringify(this.spec);
  }

  #remembered() {
    try {
      const kept = JSON.parse(this.storage?.getItem("callboard.session") ?? "null");
      if (kept?.spec !== this.#key()) return null;
      // It may be long gone: better asked about than found out by a failed handshake.
      this.#doubt = true;
      this.#strikes = -1;
      return String(kept.id);
    } catch {
      return null;
    }
  }

  #forget() {
    this.#session = null;
    this.#doubt = false;
    this.storage?.removeItem("callboard.session");
  }

  async #ask(method, path, body, signal) {
    const limits = [AbortSignal.timeout(OPENING), ...(signal ? [signal] : [])];
    const response = await fetch(this.base + path, {
      method,
      headers: { ...(await this.#proof()), ...(body ? { "Content-Type": "application/json" } : {}) },
      body: body ? JSON.stringify(body) : undefined,
      cache: "no-store",
      signal: AbortSignal.any(limits),
    });
    if (!response.ok) throw await Refusal.of(response);
    return response.status === 204 ? null : response.json();
  }

  #set(change) {
    const next = { ...this.state, ...change };
    if (Object.keys(next).every((key) => next[key] === this.state[key])) return;
    this.state = Object.freeze(next);
    for (const listener of this.#stateListeners) guarded(listener, this.state);
  }
}

/** A listener's mistake is the page's to hear of, and nobody else's to suffer from. */
function guarded(listener, value) {
  try {
    listener(value);
  } catch (fault) {
    reportError(fault);
  }
}
