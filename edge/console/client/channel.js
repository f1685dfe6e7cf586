/**
 * Lets many subscriptions read by one stream: each gets its own events, from its own place on, in the stream's order.
 *
 * The stream's session names what all subscriptions together ask for. One that comes later, or is behind, reads what the
 * stream has passed already from the store, in pages; what arrives meanwhile waits in a bounded buffer, which is
 * forgotten when it is full, and then read from the store as well. Nobody waits for a slow one.
 */

import { Backoff, sleep } from "./backoff.js";
import { behind, covers, follows, placesOf, union } from "./cursor.js";
import { Refusal, ask, query, sessionPath } from "./http.js";
import { Stream } from "./stream.js";

// What a subscription may have unread before it is sent no more. It goes on when half of it is read.
export const WINDOW = 1_000;
// Events that come close upon one another are one message to the page: what comes sooner than this after the last one (ms) waits for
// the rest of it, or until there are so many. A message costs the page's main thread as much as several events.
const GATHERED = 8;
const HANDFUL = 100;
// The server takes so many patterns per session.
const MAX_PATTERNS = 64;
// Subscriptions that come together are one change of the session (ms).
const TOGETHER = 20;
// A session that names more than is asked for is narrowed only after this time: somebody may come back.
const NARROWING = 30_000;
// Sessions are deleted when they are left. A browser that ends, or that is killed, has no time for that: those expire
// after so many seconds without a reader. A machine that slept for longer makes a new one at its cursor.
const TTL = 300;
// The store may be asked by way of a replica that lags a little (ms).
const LATER = 100;
// What of a session's specification says which events it has.
const PAST = ["filter", "include_intermediate_results", "conflate", "dialect"];
// Answers that another try does not change: what is asked for is wrong, or not granted; or the token is.
const NEVER = [400, 401, 403, 422];

const reads = (subscription, event) =>
  (!subscription.types || subscription.types.includes(event.event_type)) &&
  (!subscription.subjects || subscription.subjects.some((pattern) => covers(pattern, event.subject)));

/** One reader of a channel. `send` is called with what is for it: `{say: "events" | "notice" | "state" | "at", …}`. */
export class Subscriber {
  cursor = null;
  joining = false;
  // Whether it has what came before it began.
  joined = false;
  gone = false;
  refused = null;
  // Whether the server has taken what it asks for.
  checked = false;
  upto = null;
  buffer = [];
  unread = 0;
  // How far it has come in each shard: the store and the stream bring what lies in several in different orders.
  #had = new Map();
  #out = [];
  #due = 0;
  #flushed = -Infinity;
  #post;
  #credit = () => {};

  constructor(send, { subjects = null, types = null, start = {} }) {
    this.#post = send;
    this.stats = null;
    this.subjects = subjects;
    this.types = types;
    this.start = start;
    this.rewind(/^[12]-/.test(start.cursor) ? start.cursor : null);
  }

  give(event) {
    if (event.cursor && !this.reach(placesOf(event.cursor, true))) return;
    this.cursor = event.cursor ?? this.cursor;
    this.unread += 1;
    const now = performance.now();
    const waiting = this.#out.push(event);
    if (waiting === 1) this.#plan(now);
    // Timers of a hidden page come late.
    else if (waiting >= HANDFUL || now >= this.#due) this.flush();
  }

  /** It has had all up to some places; says whether any of these is news. */
  reach(places) {
    return behind(places, this.#had).filter((place) => this.#had.set(...place)).length;
  }

  /** What comes behind a cursor is news to it, also what it has had already. */
  rewind(cursor) {
    this.cursor = cursor;
    this.#had = new Map(cursor && placesOf(cursor));
  }

  #plan(now) {
    this.#due = now + GATHERED;
    const wait = this.#flushed + GATHERED - now;
    if (wait <= 0) queueMicrotask(() => this.flush());
    else setTimeout(() => this.flush(), wait);
  }

  flush() {
    if (!this.#out.length) return;
    const events = this.#out;
    this.#out = [];
    this.#flushed = performance.now();
    if (!this.gone) this.#post({ say: "events", events, stats: this.stats });
  }

  /** Says something, behind the events that came before it. */
  send(message) {
    this.flush();
    this.#post({ ...message, stats: this.stats });
  }

  get full() {
    return this.unread >= WINDOW;
  }

  /** It has dealt with so many events. */
  acknowledge(count) {
    this.unread = Math.max(0, this.unread - count);
    if (this.unread <= WINDOW / 2) this.#credit();
  }

  async credit() {
    if (this.unread > WINDOW / 2 && !this.gone) await new Promise((resolve) => (this.#credit = resolve));
  }

  leave() {
    this.gone = true;
    this.#credit();
  }
}

export class Channel {
  #way;
  #rest;
  #types = null;
  #subjects = [];
  #subscribers = new Set();
  #stream = null;
  #aiming = null;
  #narrowing = null;
  #asks;

  /** `rest` is what else its session's body has; `asks` gives `token(anew)` and `ticket()`. */
  constructor(way, rest, asks) {
    this.#way = way;
    this.#rest = rest;
    this.#asks = asks;
  }

  get size() {
    return this.#subscribers.size;
  }

  /** Whether a session may name what this subscriber asks for as well. */
  fits(subscriber) {
    return (union([...this.#subscribers, subscriber].map((each) => each.subjects))?.length ?? 0) <= MAX_PATTERNS;
  }

  add(subscriber) {
    this.#subscribers.add(subscriber);
    if (!this.#stream) this.#begin(subscriber);
    else {
      const now = !subscriber.cursor && !Object.keys(subscriber.start).length;
      // What comes from now on the stream brings; and without a token nothing can be read beside it.
      if (!(now && this.#stream.cursor && this.#covered(subscriber)) && !this.#way.ticket) this.#join(subscriber);
      else subscriber.cursor ??= this.#stream.cursor;
      this.#tell(subscriber);
    }
  }

  remove(subscriber) {
    subscriber.leave();
    this.#subscribers.delete(subscriber);
    clearTimeout(this.#narrowing);
    if (this.size) this.#narrowing = setTimeout(() => this.#aim(true), NARROWING);
  }

  close() {
    clearTimeout(this.#aiming);
    clearTimeout(this.#narrowing);
    this.#stream?.close();
  }

  retry() {
    this.#stream?.retry();
  }

  suspect() {
    this.#stream?.suspect();
  }

  rest(resting) {
    this.#stream?.rest(resting);
  }

  /** The first one: where it begins behind a cursor, or now, the stream itself begins there. */
  #begin(subscriber) {
    const { start } = subscriber;
    [this.#subjects, this.#types] = this.#wanted();
    const told = {
      event: (event) => this.#take(event),
      notice: (notice) => this.#notice(notice),
      state: () => this.#state(),
      placed: () => this.#cover(),
      ...this.#asks,
    };
    const way = this.#way.session ? { ...this.#way, start } : this.#way;
    this.#stream = new Stream(way, told, this.#spec(), subscriber.cursor);
    if (!this.#way.session && Object.keys(start).length && !subscriber.cursor) this.#join(subscriber, true);
    this.#stream.start();
  }

  #spec() {
    const { events } = this.#rest;
    return { delivery_method: "websocket", ttl: TTL, ...this.#rest, subjects: this.#subjects ?? undefined, events: this.#types ?? events };
  }

  #wanted() {
    const all = [...this.#subscribers].filter((each) => !each.refused);
    const types = all.some((each) => !each.types) ? null : [...new Set(all.flatMap((each) => each.types))].sort();
    return [union(all.map((each) => each.subjects)), types];
  }

  #covered({ subjects, types }) {
    if (this.#way.session) return true;
    const named = !this.#subjects || subjects?.every((one) => this.#subjects.some((wide) => covers(wide, one)));
    return named && (!this.#types || types?.every((one) => this.#types.includes(one)));
  }

  /** Lets the session name all that is asked for now, and, where that is wanted, no more. */
  #aim(narrow) {
    this.#aiming = null;
    if (this.#way.session) return;
    const [subjects, types] = this.#wanted();
    const same = JSON.stringify([subjects, types]) === JSON.stringify([this.#subjects, this.#types]);
    if (!same && this.size && (narrow || [...this.#subscribers].some((each) => !each.refused && !this.#covered(each)))) {
      [this.#subjects, this.#types] = [subjects, types];
      this.#stream.aim(this.#spec());
    }
    this.#cover();
  }

  /** From here on the stream has what these ask for: all up to its cursor is theirs to read from the store. */
  #cover() {
    for (const each of this.#subscribers) {
      if (each.joining && !each.upto && this.#stream.cursor && this.#covered(each)) {
        each.upto = this.#stream.cursor;
        each.covered?.();
      }
    }
  }

  #take(event) {
    for (const each of this.#subscribers) {
      if (each.refused || !reads(each, event)) continue;
      if (!each.joining) {
        each.give(event);
        if (each.full) this.#join(each);
      } else if (each.upto && each.buffer.push(event) > WINDOW) {
        each.upto = event.cursor;
        each.buffer = [];
      }
    }
    this.#cover();
  }

  #notice(notice) {
    const { control, cursor } = notice;
    for (const each of this.#subscribers) {
      if (control === "bye" && cursor && each.cursor && follows(each.cursor, cursor)) each.rewind(cursor);
      if (control === "gap" && notice.reset) each.rewind(this.#stream.cursor);
      if (control === "position" || control === "heartbeat") {
        if (each.joining || !this.#stream.cursor || each.cursor === this.#stream.cursor) continue;
        each.cursor = this.#stream.cursor;
        each.send({ say: "at", cursor: each.cursor });
      } else if (!each.refused) {
        each.send({ say: "notice", notice });
      }
    }
  }

  #state() {
    const { state } = this.#stream;
    if (state.phase === "refused" && state.code === "not_granted" && this.size > 1) this.#expel(state);
    for (const each of this.#subscribers) {
      if (state.phase === "live" && !each.joining) each.checked = true;
      this.#tell(each);
    }
  }

  /** What one subscription may not read must not keep the others from reading. */
  #expel({ reason, code }) {
    for (const each of this.#subscribers) if (!each.checked) each.refused = { reason, code };
    if ([...this.#subscribers].some((each) => !each.refused)) this.#aim(true);
  }

  #tell(subscriber) {
    let { state } = this.#stream;
    if (subscriber.refused) state = { ...state, phase: "refused", transport: null, ...subscriber.refused };
    else if (subscriber.joining && !subscriber.joined && state.phase === "live") state = { ...state, phase: "connecting", transport: null };
    subscriber.stats = this.#stream.stats;
    subscriber.send({ say: "state", state });
  }

  /** Reads from the store what the stream has passed, or will not bring, and then goes on with the stream. */
  async #join(subscriber, first = false) {
    subscriber.joining = true;
    subscriber.upto = null;
    const covered = new Promise((resolve) => (subscriber.covered = resolve));
    const backoff = new Backoff();
    let position = subscriber.cursor ? { cursor: subscriber.cursor } : subscriber.start;
    for (;;) {
      await subscriber.credit();
      if (subscriber.gone) return;
      try {
        const page = await this.#page(subscriber, position);
        subscriber.checked = true;
        if (!first && !this.#covered(subscriber)) this.#aiming ??= setTimeout(() => this.#aim(false), TOGETHER);
        else this.#cover();
        if (page.gap) subscriber.send({ say: "notice", notice: { control: "gap", ...page.gap } });
        for (const event of page.events) subscriber.give(event);
        position = { cursor: page.next };
        await covered;
        if (!page.next.startsWith("snapshot")) {
          subscriber.reach(placesOf(page.next));
          if (!follows(subscriber.upto, page.next)) return this.#joined(subscriber);
        }
        backoff.reset();
        if (page.has_more) continue;
        // All that is stored was read. Where the streams are others by now, that place is in the former ones.
        subscriber.upto = this.#stream.cursor;
        await sleep(LATER);
      } catch (fault) {
        const { status = 0, code = "", retryAfter = 0 } = fault instanceof Refusal ? fault : {};
        if (code === "bad_cursor") position = this.#lose(subscriber);
        else if (NEVER.includes(status) && code !== "token_expired" && !subscriber.checked) {
          subscriber.refused = { reason: fault.message, code };
          return this.#tell(subscriber);
        }
        await sleep(Math.max(retryAfter, backoff.next()));
      }
    }
  }

  /** A page of what a subscription asks for; of a session of somebody else, what that has. */
  async #page({ subjects, types }, position) {
    const { session, base } = this.#way;
    const token = await this.#asks.token(false);
    const read = { ...position, limit: WINDOW / 2, wait: 0 };
    const named = {
      ...Object.fromEntries(PAST.filter((name) => name in this.#rest).map((name) => [name, this.#rest[name]])),
      subjects: subjects?.join(),
      types: types?.join(),
    };
    return ask(base, "GET", (session ? `${sessionPath(session)}/events` : "/events") + query({ ...read, ...(session ? {} : named) }), { token });
  }

  #lose(subscriber) {
    subscriber.send({ say: "notice", notice: { control: "gap", from: subscriber.cursor, to: subscriber.upto } });
    subscriber.rewind(null);
    return subscriber.upto ? { cursor: subscriber.upto } : {};
  }

  /** The stream has all that follows. */
  #joined(subscriber) {
    if (subscriber.gone) return;
    subscriber.joining = false;
    if (!subscriber.joined) {
      subscriber.joined = true;
      this.#tell(subscriber);
    }
    const waiting = subscriber.buffer;
    subscriber.buffer = [];
    for (const event of waiting) subscriber.give(event);
    // Nothing may have been for it: what it has is all up to here.
    if (!subscriber.cursor) subscriber.cursor = subscriber.upto;
    if (subscriber.full) this.#join(subscriber);
  }
}
