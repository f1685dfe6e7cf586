/**
 * Reads, publishes and commands at a Callboard, from a page or Node 20 and newer.
 *
 *     import { connect } from "/client.js";
 *
 *     const board = connect("http://localhost:8000", { subjects: ["agent.run-42.>"], last: 50 });
 *     board.on("progress", (event) => console.log(event.subject, event.data.progress));
 *     board.onState(({ phase, transport }) => console.log(phase, transport));
 *
 * It connects by WebSocket, falls back to server-sent events and then to long polling, and after any drop it resumes
 * behind the last event that was dealt with. All tabs of an origin share one connection.
 */

import { sleep } from "./backoff.js";
import { ask, query, sessionPath, unique } from "./http.js";
import { join } from "./share.js";
import { Subscription } from "./subscription.js";

export { Refusal } from "./http.js";
export { escapeToken, unescapeToken } from "./tokens.js";
export { Subscription };

const ORDER = ["websocket", "sse", "polling"];
const SESSION = /^(.*)\/callbacks\/sessions\/([^/?#]+)(?:\/(?:ws|sse|events)?)?$/;
// What a publication that may not have arrived is tried again after (ms). Its key makes a repeat harmless.
const TRIES = [300, 1_000, 3_000];

/** Whose connection a page may share: that of the same person with the same rights, not of the same text of a token. */
function identity(token) {
  try {
    const { iss, sub, aud, callboard } = JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
    return JSON.stringify([iss, sub, aud, callboard]);
  } catch {
    return token ?? "";
  }
}

const storeOf = (persist) => {
  if (!persist) return null;
  const { storage = globalThis.localStorage, key } = persist.key ? persist : { key: persist };
  const name = `callboard.cursor.${key}`;
  return { get: () => storage?.getItem(name), set: (cursor) => storage?.setItem(name, cursor) };
};

/** The way to one server, for any number of subscriptions. */
export class Board {
  #token;
  #options;
  #session = null;
  #host = null;
  #post = null;
  #open = new Map();
  #given = null;
  #count = 0;
  #life = new AbortController();

  /** `url` is the server's, or that of a session (`…/callbacks/sessions/sess_…`), which is then read as it is. */
  constructor(url = globalThis.location?.origin, options = {}) {
    const found = SESSION.exec(String(url));
    this.base = (found ? found[1] : new URL(url, globalThis.location?.href).href).replace(/\/+$/, "");
    if (!/^https?:\/\//i.test(this.base)) throw new TypeError(`${url}: must be http:// or https://`);
    this.#session = found ? decodeURIComponent(found[2]) : null;
    this.#options = options;
    this.#token = options.token ?? null;
    if (typeof addEventListener !== "undefined") this.#watch();
  }

  /** A token, or a function that gives the newest one (or a promise of it). Setting it opens everything anew, where it was. */
  get token() {
    return this.#token;
  }

  set token(token) {
    this.#token = token;
    for (const subscription of this.#open.values()) this.#begin(subscription);
  }

  /**
   * Reads events: `subjects` (patterns), `types`, `filter` (CEL); from `cursor` (also `earliest`, `now`, `snapshot`), `since` or
   * `last` on. Other fields go to the session as they are. `persist` names a cursor that outlives the page.
   */
  subscribe({ subjects = null, types = null, cursor, since, last, persist, ...session } = {}, listener = null) {
    const keep = storeOf(persist);
    const kept = keep?.get();
    const start = kept ? { cursor: kept } : cursor ? { cursor } : since ? { since } : last ? { last } : {};
    return this.#follow({ subjects, types, start, session }, listener, keep);
  }

  /** Reads any stream of server-sent events of this server; its pieces are events whose type is their name, or `message`. */
  source(path, listener = null) {
    const source = new URL(path, `${this.base}/`).href;
    return this.#follow({ subjects: null, types: null, start: {}, session: {}, source }, listener);
  }

  #follow(read, listener, keep) {
    const subscription = new Subscription(this.#link, read, keep);
    if (listener) subscription.on("*", listener);
    subscription.start();
    return subscription;
  }

  #link = {
    open: (subscription) => {
      if (subscription.id && this.#open.has(subscription.id)) return;
      subscription.id = `${(this.#count += 1)}`;
      this.#open.set(subscription.id, subscription);
      // A host that is ready at once begins all that is open.
      if (!this.#host) this.#return();
      else if (this.#post) this.#begin(subscription);
    },
    close: (subscription) => {
      if (this.#open.delete(subscription.id)) this.#post?.({ do: "close", id: subscription.id });
    },
    acknowledge: ({ id }, count) => this.#post?.({ do: "ack", id, count }),
    retry: ({ id }) => this.#post?.({ do: "retry", id }),
  };

  /** There is a host, and it knows nothing of this page yet. */
  #ready(post) {
    this.#post = post;
    for (const subscription of this.#open.values()) this.#begin(subscription);
  }

  async #begin(subscription) {
    const { subjects, types, start, session, source } = subscription.read;
    const token = (this.#given = await this.proof());
    if (!this.#open.has(subscription.id)) return;
    const { transport, silence, backoff, ticket } = this.#options;
    const transports = !transport || transport === "auto" ? ORDER : [transport].flat();
    const renewable = typeof this.#token === "function";
    const way = { base: this.base, session: this.#session, transports, silence, backoff, renewable, source, ticket: Boolean(ticket) };
    const rest = { name: this.#options.name || undefined, ...session };
    // Who asks for the same may share: the rest of what is asked for, the way, and who asks.
    const key = JSON.stringify([way, rest, identity(token)]);
    const read = { subjects, types, start: subscription.cursor ? { cursor: subscription.cursor } : start };
    this.#post?.({ do: "open", id: subscription.id, key, way, rest, read, token });
  }

  async #hear(message) {
    if (message.say !== "ask") return this.#open.get(message.id)?.hear(message);
    const given = message.what === "token" ? this.#token : this.#options.ticket;
    const value = await Promise.resolve(typeof given === "function" ? given() : given).catch(() => null);
    // A ticket opens one stream once; after that the browser has a cookie for it.
    if (message.what === "ticket" && typeof given !== "function") this.#options = { ...this.#options, ticket: () => null };
    this.#post?.({ do: "tell", what: message.what, value });
  }

  /** The page is what knows of the network, of being looked at, and of being put aside. */
  #watch() {
    const { signal } = this.#life;
    const page = globalThis.document;
    let hiding = null;
    const tell = (hidden, woke) => this.#post?.({ do: "page", hidden, woke });
    addEventListener("online", () => tell(false, true), { signal });
    addEventListener("offline", () => tell(false, true), { signal });
    page?.addEventListener("visibilitychange", () => {
      clearTimeout(hiding);
      const { pauseHidden } = this.#options;
      if (!page.hidden) tell(false, true);
      else if (Number.isFinite(pauseHidden)) hiding = setTimeout(() => tell(true, false), pauseHidden);
    }, { signal });
    addEventListener("pagehide", () => this.#leave(), { signal });
    // A page in the back-forward cache holds no connection, and goes on where it left.
    addEventListener("pageshow", ({ persisted }) => persisted && this.#return(), { signal });
  }

  #leave() {
    if (this.#host?.last) this.#discard();
    this.#host?.close();
    this.#host = this.#post = null;
  }

  /** Deletes the sessions that this page reads by: a worker that ends with its last page has no time for that. */
  #discard() {
    if (this.#session) return;
    const live = [...this.#open.values()].filter(({ state }) => state.phase === "live" && state.session);
    for (const id of new Set(live.map(({ state }) => state.session))) {
      ask(this.base, "DELETE", sessionPath(id), { token: this.#given, keepalive: true }).catch(() => {});
    }
  }

  #return() {
    if (this.#open.size) this.#host ??= join(this.#options.share ?? "auto", (post) => this.#ready(post), (message) => this.#hear(message));
  }

  /** The connection may be dead: finds out within seconds, and opens another one then. */
  check() {
    this.#post?.({ do: "page", hidden: false, woke: true });
  }

  /** Ends all subscriptions and what watches for them. */
  close() {
    for (const subscription of [...this.#open.values()]) subscription.close();
    this.#leave();
    this.#life.abort();
  }

  async proof() {
    return (typeof this.#token === "function" ? await this.#token() : this.#token) ?? null;
  }

  /** Reads something else of the server, with the token. Throws Refusal, or what `fetch` throws. */
  async get(path) {
    return ask(this.base, "GET", path, { token: await this.proof() });
  }

  /** Changes something else of the server, such as an alert; returns the answer. Throws as `get` does. */
  async post(path, body = {}, options = {}) {
    return ask(this.base, "POST", path, { body, token: await this.proof(), ...options });
  }

  /** Stores an event, once: where the answer was lost it is sent again, and recognised. Returns the server's answer. */
  publish(subject, data = {}, { type, ...more } = {}) {
    return this.store({ subject, data, type: type || undefined, ...more });
  }

  /** The same of an event in any shape that `POST /events` takes. */
  async store(body) {
    const headers = { "Idempotency-Key": unique() };
    for (let tried = 0; ; tried += 1) {
      try {
        return await this.post("/events", body, { headers });
      } catch (fault) {
        const lasting = fault.status && fault.status < 500 && fault.status !== 429;
        if (lasting || tried >= TRIES.length) throw fault;
        await sleep(Math.max(fault.retryAfter ?? 0, TRIES[tried] * (0.5 + Math.random())));
      }
    }
  }

  /** Asks an actor, and returns its answer: `command("agent", "main", "stop", { run: "run-42" })`. Throws as `get` does. */
  command(actor, instance, name, body = {}, { timeout } = {}) {
    const path = `/commands/${[actor, instance, name].map(encodeURIComponent).join("/")}`;
    return this.post(timeout ? `${path}?timeout=${timeout}` : path, body, timeout ? { patience: timeout * 1000 + 2_000 } : {});
  }

  /** What a browser puts into an address where it can send no token: `ticket({ camera: "main" })`. Null without a token. */
  async ticket(wish) {
    return (await this.proof()) ? (await this.post("/tickets", wish)).ticket : null;
  }

  /** Reads the last events of some subjects once, beside the stream. */
  async history(subjects, last = 100) {
    const events = [];
    for (let place = { last }; ; ) {
      const page = await this.get(`/events${query({ subjects: subjects?.join(), ...place, limit: 1_000 })}`);
      events.push(...page.events);
      if (!page.has_more) return events;
      place = { cursor: page.next };
    }
  }

  /** Draws the frames of `/cameras/main` or `/octane/main` on a canvas, the newest first; `options` as `FrameStream` has them. */
  async frames(canvas, path, options = {}) {
    const { FrameStream } = await import("./frames.js");
    const [, kind, id] = path.split("/");
    const wish = { [kind === "cameras" ? "camera" : kind]: decodeURIComponent(id), transport: "websocket" };
    const stream = new FrameStream(canvas, `${this.base}${path}/ws`, { ticket: () => this.ticket(wish), ...options });
    stream.start();
    return stream;
  }
}

/** A subscription that has its board's methods, too: for a page that reads one thing. */
export function connect(url, options = {}) {
  const { token, ticket, transport, share, silence, backoff, pauseHidden, name, ...read } = options;
  const board = new Board(url, options);
  const subscription = board.subscribe(read);
  const end = subscription.close.bind(subscription);
  for (const name of ["get", "post", "publish", "store", "command", "ticket", "history", "frames", "subscribe"]) {
    subscription[name] = board[name].bind(board);
  }
  Object.defineProperty(subscription, "token", { get: () => board.token, set: (value) => (board.token = value) });
  return Object.assign(subscription, { board, base: board.base, close: end });
}
