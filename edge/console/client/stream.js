/** Keeps the events of one session coming: one connection at a time, resumed behind the last event that it handed on. */

import { Backoff, Pause, later, reachable } from "./backoff.js";
import { follows } from "./cursor.js";
import { Refusal, ask, bearer, freshen, sessionPath } from "./http.js";
import { IDLE } from "./subscription.js";
import { POLL_WAIT, TRANSPORTS } from "./transports.js";

// A connection must have lived this long before its end counts as the first failure again.
const STEADY = 5_000;
// Tries without a `ready` before another transport gets its turn.
const STRIKES = 2;
// How long a fall-back is good enough before the preferred transport is tried again.
const FALLBACK_LIFE = 300_000;
// From connecting to `ready`.
const OPENING = 10_000;
// For the answer to a ping, so that there is a new connection 3 s after the server should have spoken; and how late a timer may be
// before this machine is taken to have slept.
const PROBE = 2_000;
// How often a connection is looked after.
const TICK = 250;
// Until `ready` says how often the server speaks: its default is every 12 s.
const HEARTBEAT = 12;

// Close codes of the server that have an answer of their own; else 4000–4499 say come back, 4500–4999 stay away.
const EXPIRED = 4003;
const NO_SESSION = 4505;
const BAD_CURSOR = 4506;

export class Stream {
  #way;
  #told;
  #spec;
  #aimed = 0;
  #cursor;
  #session;
  #transports;
  #backoff;
  #pause = new Pause();
  // How far the server's clock is ahead of this machine's, and by how much that may be wrong (ms).
  #offset = 0;
  #error = Infinity;
  #life = null;
  #connection = null;
  #suspect = () => {};
  #freshening = null;
  #heartbeat = HEARTBEAT;
  #hint = 0;
  #strikes = 0;
  #choice = 0;
  #doubt = false;
  #renewal = false;
  #farewell = null;
  #resting = false;

  stats = { connections: 0, duplicates: 0, gaps: 0 };
  state = IDLE;

  /**
   * `way` has `base`, `session` (of somebody else: it is read and never made or deleted), `transports`, `silence`, `backoff`, `ticket`.
   * `told` is called with what happens: `event`, `notice`, `state`, `placed(cursor)`; and asked for `token(anew)` and `ticket()`.
   */
  constructor(way, told, spec, cursor = null) {
    this.#way = way;
    this.#told = told;
    this.#spec = spec;
    this.#cursor = cursor;
    this.#session = way.session ? { id: way.session, aimed: 0 } : null;
    this.#transports = way.transports.filter((name) => name in TRANSPORTS);
    this.#backoff = new Backoff(way.backoff);
  }

  /** Where it would resume: behind the last event that it handed on. */
  get cursor() {
    return this.#cursor;
  }

  start() {
    if (this.#life) return;
    this.#life = new AbortController();
    this.#live(this.#life.signal);
  }

  /** Leaves the server; the cursor stays, and `start` resumes there. */
  close() {
    this.#life?.abort();
    this.#life = null;
    this.#discard();
    this.#set({ phase: "closed", transport: null, retryAt: null, reason: "" });
  }

  /** Reads by another specification from the cursor on: a session of its own, so that what it covers is certain. */
  aim(spec) {
    this.#spec = spec;
    this.#aimed += 1;
    this.#backoff.reset();
    // One that is just being opened is left as soon as it is.
    if (this.state.phase === "live") this.#connection?.abort();
    this.#pause.wake();
  }

  /** Cuts a wait short: tries again now, also where the server had said to stay away. */
  retry() {
    this.#backoff.reset();
    this.#pause.wake();
  }

  /** The connection may be dead (the network changed, the machine slept): finds out within seconds. */
  suspect() {
    this.#pause.wake();
    this.#suspect();
  }

  /** Gives the connection up, until it is woken. */
  rest(resting) {
    if (this.#resting === resting) return;
    this.#resting = resting;
    if (resting) this.#connection?.abort();
    else this.retry();
  }

  // One loop, one connection: the next is opened only after the one before has ended.
  async #live(signal) {
    while (!signal.aborted) {
      if (this.#resting || !reachable(this.#way.base)) {
        const [phase, reason] = this.#resting ? ["paused", "nobody looks"] : ["offline", "this device is offline"];
        this.#set({ phase, reason, transport: null, retryAt: null });
        await this.#pause.for(Infinity, signal);
        continue;
      }
      const aimed = this.#aimed;
      const wait = await this.#turn(aimed, signal);
      if (signal.aborted) return;
      if (aimed !== this.#aimed || this.#resting) continue;
      const retryAt = Number.isFinite(wait) ? Date.now() + wait : null;
      this.#set({ phase: Number.isFinite(wait) ? "waiting" : "refused", transport: null, retryAt });
      await this.#pause.for(wait, signal);
    }
  }

  /** One attempt, from session to the end of the connection. Returns how long to wait, Infinity to stay away. */
  async #turn(aimed, signal) {
    this.#set({ phase: "connecting", transport: null, retryAt: null });
    this.#farewell = null;
    let end = { reason: "" };
    const before = this.#cursor;
    try {
      await this.#freshening;
      const token = await this.#told.token(this.#renewal);
      await this.#enter(token, signal);
      if (signal.aborted) return 0;
      end = await this.#connect(token, signal);
      if (signal.aborted) return 0;
    } catch (fault) {
      if (signal.aborted) return 0;
      if (fault instanceof Refusal) return this.#refused(fault);
      // What is left is the network's: `fetch` says TypeError.
      end = { reason: "the server cannot be reached" };
    }
    // It was given up to read something else, or to rest: no failure, and no reason to tell.
    if (aimed !== this.#aimed || this.#resting) {
      this.#doubt = !end.ready;
      return 0;
    }
    // A connection that has moved the cursor was no failure, however short it lived.
    if (before && before !== this.#cursor) this.#backoff.reset();
    return this.#ended(end);
  }

  #refused(refusal) {
    this.#set({ reason: refusal.message, code: refusal.code });
    if (refusal.code === "token_expired" && !this.#renewal) {
      this.#renewal = true;
      return this.#backoff.next();
    }
    if (refusal.status === 404 && !this.#way.session) {
      this.#session = null;
      this.#doubt = false;
      return this.#backoff.next();
    }
    return later(refusal, this.#backoff);
  }

  #ended({ code = 0, reason = "", ready = false, lived = 0 }) {
    if (lived > STEADY) this.#backoff.reset();
    this.#doubt = !ready;
    const bye = this.#farewell;
    const why = bye?.reason || reason || (ready ? "the connection dropped" : "the server cannot be reached");
    this.#set({ reason: String(why) });
    // What a refused handshake cannot tell a browser, the server tells by the code it closes with.
    if (code === NO_SESSION && !this.#way.session) {
      this.#session = null;
      this.#doubt = false;
      return this.#backoff.next();
    }
    if (code === BAD_CURSOR && this.#cursor) {
      this.#notice({ control: "gap", from: this.#cursor, to: null });
      this.#cursor = null;
      return this.#backoff.next();
    }
    if (code === EXPIRED || bye?.reason === "token_expired") this.#doubt = this.#renewal = true;
    if (bye ? bye.reconnect === false : code >= 4500 && code < 5000) return Infinity;
    const told = Number(bye?.delay_ms);
    // A server that drains tells everybody the same delay; spread over half of it again, they do not come back as one.
    if (told >= 0) return Math.max(told * (1 + Math.random() / 2), lived > STEADY ? 0 : this.#backoff.next());
    return this.#backoff.next(this.#hint);
  }

  /** Makes sure there is a session, and in doubt that the server still knows it. */
  async #enter(token, signal) {
    if (this.#session && this.#session.aimed !== this.#aimed) this.#discard();
    if (this.#session) {
      if (!this.#doubt) return;
      if (!this.#way.session) await ask(this.#way.base, "GET", sessionPath(this.#session.id), { token, signal });
      this.#strikes += 1;
      if (this.#strikes >= STRIKES) {
        this.#choice = (this.#choice + 1) % this.#transports.length;
        this.#strikes = 0;
      }
      return;
    }
    const aimed = this.#aimed;
    const answer = await this.#create(token, signal);
    this.#session = { id: answer.session_id, aimed, token };
    if (!this.#cursor) {
      this.#cursor = answer.cursor;
      this.#told.placed(this.#cursor);
    }
    // It was aimed elsewhere while it was made.
    if (aimed !== this.#aimed) await this.#enter(token, signal);
  }

  async #create(token, signal) {
    const create = (body) => ask(this.#way.base, "POST", "/callbacks/sessions", { body, token, signal });
    try {
      return await create({ ...this.#spec, cursor: this.#cursor || undefined });
    } catch (fault) {
      if (!this.#cursor || !(fault instanceof Refusal) || ![400, 409, 410, 422].includes(fault.status)) throw fault;
      const answer = await create(this.#spec);
      // A cursor that nobody knows any more: say so, and begin anew.
      const lost = this.#cursor;
      this.#cursor = null;
      this.#notice({ control: "gap", from: lost, to: answer.cursor ?? null });
      return answer;
    }
  }

  /** Deletes its session: one that nobody reads would lie there for a day. */
  #discard() {
    if (!this.#session || this.#way.session) return;
    const { id, token } = this.#session;
    this.#session = null;
    this.#doubt = false;
    ask(this.#way.base, "DELETE", sessionPath(id), { token, keepalive: true }).catch(() => {});
  }

  async #connect(token, signal) {
    const transport = this.#transports[this.#choice];
    const connection = (this.#connection = new AbortController());
    const stop = () => connection.abort();
    signal.addEventListener("abort", stop, { once: true });
    const began = Date.now();
    const watch = { ready: 0, heard: began, reason: "" };
    const { id } = this.#session;
    const link = {
      url: (rest) => this.#way.base + sessionPath(id) + rest,
      query: this.#cursor ? { cursor: this.#cursor } : this.#way.start,
      signal: connection.signal,
      headers: bearer(token),
      // A long poll is a silence, too.
      wait: Math.max(1, Math.min(POLL_WAIT, ((this.#way.silence ?? Infinity) - PROBE) / 1000)),
      credentials: this.#way.ticket ? "include" : "same-origin",
      ticket: () => this.#ticket(id, transport, token, connection.signal),
      heard: () => (watch.heard = Date.now()),
      hint: (milliseconds) => (this.#hint = Math.min(milliseconds, this.#backoff.cap)),
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
    const watchdog = this.#watch(link, watch, connection, transport, began);
    let end;
    try {
      if (!signal.aborted) end = await TRANSPORTS[transport](link);
    } catch (fault) {
      if (fault instanceof Refusal) throw fault;
    } finally {
      clearInterval(watchdog);
      this.#suspect = () => {};
      signal.removeEventListener("abort", stop);
      connection.abort();
      this.#connection = null;
    }
    if (this.#choice > 0 && Date.now() - began > FALLBACK_LIFE) this.#choice = 0;
    return { ...end, reason: watch.reason || end?.reason, ready: watch.ready > 0, lived: watch.ready ? Date.now() - watch.ready : 0 };
  }

  /** Ends a connection that has gone silent: the server speaks every few seconds, or is asked to. */
  #watch(link, watch, connection, transport, began) {
    const silence = () => this.#way.silence ?? (transport === "polling" ? link.wait * 1000 : this.#heartbeat * 1250) + PROBE;
    const every = Math.min(TICK, silence() / 4);
    let beat = began;
    let asked = 0;
    const end = (reason) => {
      watch.reason = reason;
      connection.abort();
    };
    const doubt = () => {
      asked ||= Date.now();
      link.ping?.();
      this.#freshening ??= freshen(this.#way.base, link).then(() => (this.#freshening = null));
    };
    this.#suspect = () => {
      if (!watch.ready) return;
      doubt();
      if (!link.ping && Date.now() - watch.heard > PROBE) end("the server was silent");
    };
    return setInterval(() => {
      const now = Date.now();
      const idle = now - watch.heard;
      if (watch.heard > asked) asked = 0;
      // Hidden pages get their timers late as well: what cannot be asked is not given up for that.
      if (now - beat > every + PROBE && link.ping) this.#suspect();
      beat = now;
      if (!reachable(this.#way.base)) end("this device is offline");
      else if (idle > (watch.ready ? silence() : Math.min(OPENING, silence()))) end("the server was silent");
      else if (asked && link.ping && now - asked > PROBE) end("the server does not answer");
      else if (watch.ready && !asked && idle > Math.max(silence() - PROBE, silence() / 2)) doubt();
      if (this.#choice > 0 && now - began > FALLBACK_LIFE) end("");
    }, every);
  }

  async #ticket(id, transport, token, signal) {
    if (this.#way.ticket) return this.#told.ticket();
    if (!token) return null;
    return (await ask(this.#way.base, "POST", "/tickets", { body: { session_id: id, transport }, token, signal })).ticket;
  }

  #ready(transport, notice, sent, received) {
    this.#strikes = 0;
    this.#renewal = false;
    this.#doubt = false;
    this.stats.connections += 1;
    this.#heartbeat = Number(notice.heartbeat_seconds) || HEARTBEAT;
    // The handshake's own steps lie before the server's clock was read, so its first half is the longer one.
    this.#measure(Date.parse(notice.server_time), sent, received);
    if (this.#session.aimed !== this.#aimed && !this.#way.session) return this.#connection.abort();
    this.#set({ phase: "live", transport, session: this.#session.id, reason: "", code: "", retryAt: null, offset: this.#offset });
  }

  /** The server said `time` at some moment between `sent` and `received`. */
  #measure(time, sent, received) {
    const error = (received - sent) / 2;
    if (!Number.isFinite(time) || error > this.#error) return;
    this.#error = error;
    // Two clocks that may be one are taken for one: on a single machine latencies are then exact.
    this.#offset = time >= sent - 5 && time <= received + 5 ? 0 : time - (sent + received) / 2;
  }

  #take(object) {
    const { control, cursor } = object;
    if (control) return this.#notice(object);
    if (cursor && !follows(cursor, this.#cursor)) {
      this.stats.duplicates += 1;
      return;
    }
    if (cursor) this.#cursor = cursor;
    this.#told.event(object);
  }

  #notice(notice) {
    const { control, cursor } = notice;
    // Only a position says that everything before it was sent; a heartbeat's or a ready's cursor may be ahead of a replay.
    if (control === "position" && cursor && follows(cursor, this.#cursor)) this.#cursor = cursor;
    if (control === "bye") {
      this.#farewell = notice;
      // Where to come back: mostly where we are, and before that where the server has found that we missed something.
      if (cursor) this.#cursor = cursor;
    }
    if (control === "gap") {
      this.stats.gaps += 1;
      // In another life of the stream the same sequences are other events, also where the epoch is the same.
      if (notice.reset) this.#cursor = cursor ?? notice.to ?? this.#cursor;
    }
    if (control === "expiring") this.#refresh();
    this.#told.notice(notice);
  }

  /** The token ends: where there is a newer one, the connection goes on with it, whatever its transport. */
  async #refresh() {
    const id = this.#session?.id;
    const token = await this.#told.token(true);
    // Where this fails the server closes the connection, and the next one says why.
    if (token && id) await ask(this.#way.base, "POST", `${sessionPath(id)}/refresh`, { token }).catch(() => {});
  }

  #set(change) {
    const next = { ...this.state, ...change };
    if (Object.keys(next).every((key) => next[key] === this.state[key])) return;
    this.state = next;
    this.#told.state(this.state);
  }
}
