/**
 * A window on the stream: events in order, read page by page in both directions, and from now on. It keeps a bounded number of them;
 * what is cut off at one end is read again when somebody goes back there.
 */

import { sequenceOf } from "../../../client/cursor.js";
import { Filter } from "./query.js";

// What is kept in memory: some 20 MB of usual events.
const KEPT = 20_000;
// The share of it that a live list may have beyond, before it is cut.
const SLACK = 1 / 40;
const PAGE = 500;
// Enough new rows for one step of scrolling.
const STEP = 150;
// Requests that one step makes at most; a search says how far it came.
const TRIES = 8;
// How many sequences the first look back spans, and the last.
const [NARROW, WIDE] = [600, 60_000];

export class EventLog {
  #ask;
  #told;
  #epoch = null;
  #turn = 0;
  #span = NARROW;
  #busy = { back: false, ahead: false };

  entries = [];
  filter = new Filter();
  /** The sequences between which everything that the filter lets through is here. */
  from = 0;
  to = 0;
  /** The oldest sequence that is kept by the server, and the newest that this page has heard of. */
  first = 1;
  /** The oldest sequence that is asked for: `first`, or where the list was told to begin. */
  floor = 1;
  newest = 0;
  /** Whether the list ends where the stream ends now. */
  live = false;
  /** Whether it is not known yet where a list that was just opened begins. */
  opening = false;
  /** How many events a text search has looked at. */
  searched = 0;
  /** How many events are kept in memory. */
  kept = KEPT;

  /** `ask(query)` answers as `GET /events`; `told(what, count)` hears "reset", "back" (added before), "ahead", "cut" (entries that are not
   * kept any more, and whether they were the oldest), "fault" (an error). */
  constructor(ask, told) {
    this.#ask = ask;
    this.#told = told;
  }

  get atStart() {
    return this.from < this.floor;
  }

  get busy() {
    return this.#busy;
  }

  /** The cursor behind which the event of a sequence comes next. */
  before(sequence) {
    return `1-${this.#epoch}-${Math.max(0, sequence - 1).toString(16).padStart(12, "0")}`;
  }

  /** Begins anew with a filter: at the newest events (down to `floor`), around a sequence, or from one or a time on (`onward`). */
  async open(filter, { sequence = null, since = null, onward = Boolean(since), floor = 0 } = {}) {
    const turn = (this.#turn += 1);
    this.filter = filter;
    this.entries = [];
    this.searched = 0;
    this.#span = NARROW;
    this.live = false;
    // Until the place is known nothing is read: `from` and `to` are still those of the list before.
    this.#busy = { back: true, ahead: true };
    this.opening = true;
    try {
      await this.#place(since);
      if (turn !== this.#turn) return;
      this.#placed();
      this.from = this.to = sequence ?? (since ? this.from : this.newest);
      this.floor = onward ? this.from + 1 : Math.max(floor, this.first);
      this.live = !since && sequence === null;
      this.#told("reset", 0);
      if (!this.live) await this.ahead();
      await this.back();
    } catch (fault) {
      if (turn !== this.#turn) return;
      this.#placed();
      this.#told("fault", fault);
    }
  }

  #placed() {
    this.#busy = { back: false, ahead: false };
    this.opening = false;
  }

  /** Finds where the stream begins and ends, and the sequence before a time. */
  async #place(since) {
    const [oldest, now] = await Promise.all([this.#ask({ cursor: "earliest", limit: 1 }), this.#ask({ cursor: "now", limit: 1 })]);
    this.#epoch = now.next.split("-")[1];
    this.newest = Math.max(0, sequenceOf(now.next));
    this.first = oldest.events.length ? sequenceOf(oldest.events[0].cursor) : this.newest + 1;
    if (since) {
      const page = await this.#ask({ since, limit: 1 });
      this.from = page.events.length ? sequenceOf(page.events[0].cursor) - 1 : this.newest;
    }
  }

  /** Reads older ones. */
  async back() {
    if (this.#busy.back || this.atStart) return;
    const turn = this.#turn;
    this.#busy.back = true;
    let found = 0;
    let tries = TRIES;
    try {
      while (found < STEP && !this.atStart && tries > 0) {
        const upto = this.from;
        const low = Math.max(this.floor - 1, upto - this.#span);
        let cursor = this.before(low + 1);
        const stretch = [];
        for (;;) {
          const page = await this.#ask({ ...this.filter.query(), cursor, limit: PAGE });
          if (turn !== this.#turn) return;
          tries -= 1;
          for (const event of page.events) if (sequenceOf(event.cursor) <= upto) this.#look(event, stretch);
          cursor = page.next;
          if (sequenceOf(cursor) >= upto || !page.has_more) break;
        }
        found += stretch.length;
        this.from = low;
        this.#addBefore(stretch);
        // What is found is shown at once: the next stretch may take a while.
        this.#told("back", stretch.length);
        this.#span = stretch.length < STEP / 3 ? Math.min(WIDE, this.#span * 4) : stretch.length > STEP * 3 ? Math.max(NARROW, this.#span / 2) : this.#span;
      }
      this.#busy.back = false;
      this.#told("back", 0);
    } catch (fault) {
      this.#failed(turn, "back", fault);
    }
  }

  /** Reads newer ones, up to what is now; then the list is live. */
  async ahead() {
    if (this.#busy.ahead || this.live) return;
    const turn = this.#turn;
    this.#busy.ahead = true;
    const found = [];
    try {
      for (let tries = TRIES; found.length < STEP && tries > 0; tries -= 1) {
        const page = await this.#ask({ ...this.filter.query(), cursor: this.before(this.to + 1), limit: PAGE });
        if (turn !== this.#turn) return;
        for (const event of page.events) this.#look(event, found);
        this.to = Math.max(this.to, sequenceOf(page.next));
        if (!page.has_more) {
          this.live = true;
          break;
        }
      }
      this.entries.push(...found);
      if (this.entries.length > this.kept) this.#cutStart();
      this.#busy.ahead = false;
      this.#told("ahead", found.length);
    } catch (fault) {
      this.#failed(turn, "ahead", fault);
    }
  }

  #failed(turn, way, fault) {
    if (turn !== this.#turn) return;
    this.#busy[way] = false;
    this.#told("fault", fault);
  }

  #look(event, into) {
    this.searched += 1;
    if (!this.filter.wanted || this.filter.takes(event)) into.push(entryOf(event));
  }

  #addBefore(found) {
    if (!found.length) return;
    this.entries = [...found, ...this.entries];
    if (this.entries.length <= this.kept) return;
    // What is newest goes: the list is not live any more.
    this.#told("cut", this.entries.splice(this.kept), false);
    this.to = this.entries.at(-1).sequence;
    this.live = false;
  }

  /** Live events, in order; returns how many were added. */
  push(events) {
    let added = 0;
    for (const event of events) {
      const sequence = sequenceOf(event.cursor);
      this.newest = Math.max(this.newest, sequence);
      if (!this.live || sequence <= this.to) continue;
      this.to = sequence;
      if (!this.filter.takes(event)) continue;
      this.entries.push(entryOf(event, sequence));
      added += 1;
    }
    // A shift for each would cost as much as all the rest; thousands at once would hold a frame up.
    if (this.entries.length > this.kept * (1 + SLACK)) this.#cutStart();
    return added;
  }

  #cutStart() {
    const cut = this.entries.splice(0, this.entries.length - this.kept);
    this.from = this.entries[0].sequence - 1;
    this.#told("cut", cut, true);
  }

  /** A word between the events, such as a gap. */
  note(text, tone) {
    if (this.live) this.entries.push({ sequence: this.to, at: Date.now(), note: text, tone, event: null });
  }

  find(sequence) {
    return this.entries.findIndex((entry) => entry.event && entry.sequence >= sequence);
  }
}

export const entryOf = (event, sequence = sequenceOf(event.cursor)) => ({ sequence, at: Date.parse(event.timestamp), event, note: null });
