/** One subscription, as a page has it: its events, its state, and where it stands. */

import { Refusal } from "./http.js";

// The cursor is written down at most so often (ms).
const KEEPING = 250;
// Of so many live events the latency is the median.
const MEASURED = 64;
// Loops end then.
const OVER = ["closed", "ended", "refused"];
// A queue for `for await` acknowledges so many at once.
const HANDFUL = 100;

export const IDLE = Object.freeze({ phase: "idle", transport: null, session: null, retryAt: null, reason: "", code: "", offset: 0 });

export class Subscription {
  #link;
  #listeners = new Map();
  #states = new Set();
  #notices = new Set();
  #pulled = false;
  #queue = [];
  #wake = () => {};
  #taken = 0;
  #keep;
  #keeping = null;
  #latencies = [];
  #liveSince = Infinity;

  state = IDLE;
  stats = { events: 0, duplicates: 0, gaps: 0, connections: 0 };
  clock = { offset: 0, now: () => Date.now() + this.state.offset };

  /** `link` sends (`open`, `close`, `ack`, `retry`) for it; `keep` has `get()` and `set(cursor)` of a cursor that outlives the page. */
  constructor(link, read, keep = null) {
    this.#link = link;
    this.read = read;
    this.#keep = keep;
    this.cursor = read.start.cursor ?? null;
  }

  /** Calls `listener` with each event of this type ('*' for all) and returns a function that ends it. */
  on(type, listener) {
    if (!this.#listeners.has(type)) this.#listeners.set(type, new Set());
    this.#listeners.get(type).add(listener);
    return () => this.#listeners.get(type).delete(listener);
  }

  /** Calls `listener` now and on every change of state. */
  onState(listener) {
    this.#states.add(listener);
    listener(this.state);
    return () => this.#states.delete(listener);
  }

  /** Calls `listener` with each notice of the server that is no event: ready, gap, slowed, expiring, bye. */
  onNotice(listener) {
    this.#notices.add(listener);
    return () => this.#notices.delete(listener);
  }

  /** Half of the latest live events took at most so many ms from their birth to this page; null before any. */
  get latency() {
    return [...this.#latencies].sort((a, b) => a - b)[this.#latencies.length >> 1] ?? null;
  }

  /** Begins, or goes on behind the last event that was dealt with. Calling it again changes nothing. */
  start() {
    this.#link.open(this);
  }

  /** Ends it; the cursor stays, and `start` goes on there. */
  close() {
    this.#link.close(this);
    this.#save();
    this.#queue = [];
    this.#set({ ...this.state, phase: "closed", transport: null, retryAt: null, reason: "" });
  }

  /** Tries again at once, also where the server had said to stay away. */
  retry() {
    this.#link.retry(this);
  }

  /**
   * Events one by one, in order. A slow loop holds the server back: no more than a thousand events wait here, the rest stays
   * in the store. The cursor moves when the loop asks for the next event: one that it failed on, or left at, comes again, in the
   * next loop or to who resumes. From the first loop on the cursor moves by loops alone. A loop ends with the subscription, and throws
   * Refusal where the server refuses for good.
   */
  async *[Symbol.asyncIterator]() {
    this.#pulled = true;
    for (;;) {
      while (this.#queue.length) {
        const { at, event } = this.#queue[0];
        if (!at) yield event;
        this.#queue.shift();
        this.#passed(at ?? event.cursor);
        if (!at) this.#acknowledge(1);
      }
      const { phase, code, reason } = this.state;
      if (phase === "closed" || phase === "ended") return;
      if (phase === "refused") throw new Refusal(0, { code, detail: reason });
      await new Promise((resolve) => (this.#wake = resolve));
    }
  }

  /** What the host says. */
  hear({ say, events, notice, state, stats, cursor }) {
    if (stats) Object.assign(this.stats, stats);
    if (say === "events") this.#events(events);
    else if (say === "at") this.#pulled ? this.#enqueue({ at: cursor }) : this.#passed(cursor);
    else if (say === "notice") this.#notice(notice);
    else if (say === "state") this.#set(state);
  }

  #events(events) {
    for (const event of events) {
      this.stats.events += 1;
      this.#time(event);
      for (const type of [event.event_type, "*"]) {
        for (const listener of this.#listeners.get(type) ?? []) guarded(listener, event);
      }
      if (this.#pulled) this.#enqueue({ event });
      else this.#passed(event.cursor);
    }
    if (!this.#pulled) this.#link.acknowledge(this, events.length);
  }

  #enqueue(item) {
    this.#queue.push(item);
    this.#wake();
  }

  #acknowledge(count) {
    this.#taken += count;
    if (this.#taken < HANDFUL && this.#queue.length) return;
    this.#link.acknowledge(this, this.#taken);
    this.#taken = 0;
  }

  #passed(cursor) {
    if (!cursor) return;
    this.cursor = cursor;
    if (this.#keep) this.#keeping ??= setTimeout(() => this.#save(), KEEPING);
  }

  #save() {
    clearTimeout(this.#keeping);
    this.#keeping = null;
    if (this.cursor) this.#keep?.set(this.cursor);
  }

  #notice(notice) {
    if (notice.control === "bye" && notice.cursor && !this.#pulled) this.#passed(notice.cursor);
    for (const listener of this.#notices) guarded(listener, notice);
  }

  #time({ timestamp }) {
    const born = Date.parse(timestamp);
    if (!(born >= this.#liveSince)) return;
    this.#latencies.push(Math.max(0, this.clock.now() - born));
    if (this.#latencies.length > MEASURED) this.#latencies.shift();
  }

  #set(state) {
    // What was born before is history.
    if (state.phase === "live" && this.state.phase !== "live") this.#liveSince = Date.now() + state.offset;
    this.state = Object.freeze(state);
    this.clock.offset = state.offset;
    for (const listener of this.#states) guarded(listener, this.state);
    if (OVER.includes(state.phase)) this.#wake();
  }
}

/** A listener's mistake is the page's to hear of, and nobody else's to suffer from. */
function guarded(listener, value) {
  try {
    listener(value);
  } catch (fault) {
    queueMicrotask(() => { throw fault; });
  }
}
