/**
 * A window on the stream: events in order, read page by page in both directions, and from now on. It keeps a bounded number of them;
 * what is cut off at one end is read again when somebody goes back there.
 */

import { Place, sequenceOf } from "./place.js";
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
// How many events of any kind the first look back spans, and the last.
const [NARROW, WIDE] = [600, 60_000];

export class EventLog {
  #ask;
  #told;
  #turn = 0;
  #span = NARROW;
  #busy = { back: false, ahead: false };
  // The ids of what is here: places before and behind the list may lie farther in it, where it was read by several readers.
  #ids = new Set();

  entries = [];
  filter = new Filter();
  /** The places between which everything that the filter lets through is here. */
  from = null;
  to = null;
  /** The place before the oldest event that is kept by the server, the time of that event, and the newest place that this page has heard of. */
  first = null;
  oldest = 0;
  newest = null;
  /** The place at which the list was opened; null is the end. */
  at = null;
  /** The place where the list was told to begin, if any. */
  floor = null;
  /** Whether nothing comes before what is here. */
  atStart = false;
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

  get busy() {
    return this.#busy;
  }

  /** Whether all events are in one stream, whose sequences say how many there are; else places are told by their times. */
  get numbered() {
    return this.newest !== null && this.newest.cursor.startsWith("1-") && this.newest.isOf(this.first);
  }

  /** The cursor of a sequence of the only stream. */
  cursorAt(sequence) {
    return `${this.newest.cursor.slice(0, 10)}-${Math.max(0, sequence).toString(16).padStart(12, "0")}`;
  }

  /**
   * Begins anew with a filter: at the newest events (down to the place `floor`), around a cursor or a time (`near`), or from either on
   * (`onward`; with the event whose cursor it is).
   */
  async open(filter, { cursor = null, near = null, onward = false, floor = null } = {}) {
    const turn = (this.#turn += 1);
    this.filter = filter;
    this.entries = [];
    this.#ids.clear();
    this.searched = 0;
    this.#span = NARROW;
    this.live = false;
    // Until the place is known nothing is read: `from` and `to` are still those of the list before.
    this.#busy = { back: true, ahead: true };
    this.opening = true;
    try {
      const place = await this.#place(cursor, near, onward);
      if (turn !== this.#turn) return;
      this.#placed();
      this.at = place;
      this.from = this.to = place ?? this.newest;
      this.floor = onward ? place : floor;
      this.atStart = onward || this.first.reaches(this.from);
      this.live = place === null;
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

  /** Finds where the stream begins and ends, and where the list does; null is at the end. */
  async #place(cursor, near, onward) {
    const [oldest, now] = await Promise.all([this.#ask({ cursor: "earliest", back: 0, limit: 1 }), this.#ask({ cursor: "now", limit: 1 })]);
    this.newest = new Place(now.next);
    this.first = new Place(oldest.begin);
    this.oldest = oldest.events.length ? Date.parse(oldest.events[0].timestamp) : Date.now();
    if (near) return new Place((await this.#ask({ since: near, back: 0, limit: 1 })).begin);
    if (!cursor) return null;
    if (!onward) return new Place(cursor);
    const { begin, last } = await this.#upto(cursor);
    // Those of other shards that come just before it are not wanted.
    for (const { id } of last.slice(0, -1)) this.#ids.add(id);
    return new Place(begin);
  }

  /** The last events up to a cursor, at most one of each shard, and the place before them. */
  async #upto(cursor) {
    const place = new Place(cursor);
    const { begin, events } = await this.#ask({ cursor, back: 1, limit: PAGE });
    return { begin, last: events.filter((event) => place.covers(new Place(event.cursor).own(event.subject))) };
  }

  /** The event whose cursor this is, if it is kept. */
  async eventAt(cursor) {
    return (await this.#upto(cursor)).last.at(-1) ?? null;
  }

  /** Reads older ones. */
  async back() {
    if (this.#busy.back || this.atStart) return;
    const turn = this.#turn;
    this.#busy.back = true;
    let found = 0;
    let tries = TRIES;
    const read = (place) => {
      tries -= 1;
      return this.#ask({ ...this.filter.query(), ...place, limit: PAGE });
    };
    try {
      while (found < STEP && !this.atStart && tries > 0) {
        const upto = this.from;
        let page = await read({ cursor: upto.cursor, back: this.#span });
        if (turn !== this.#turn) return;
        let low = new Place(page.begin);
        if (this.floor?.reaches(low)) {
          low = this.floor;
          page = await read({ cursor: low.cursor });
        }
        const stretch = [];
        for (;;) {
          if (turn !== this.#turn) return;
          for (const event of page.events) if (upto.covers(new Place(event.cursor).own(event.subject))) this.#look(event, stretch, low);
          const next = new Place(page.next);
          if (!page.has_more || next.reaches(upto) || !next.isOf(upto)) break;
          page = await read({ cursor: page.next });
        }
        found += stretch.length;
        this.from = low;
        // Where nothing older is kept, the answer begins where it was asked to.
        this.atStart = low === this.floor || low.reaches(upto) || this.first.reaches(low);
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
        const page = await this.#ask({ ...this.filter.query(), cursor: this.to.cursor, limit: PAGE });
        if (turn !== this.#turn) return;
        for (const event of page.events) this.#look(event, found);
        this.to = new Place(page.next);
        if (!this.newest.reaches(this.to)) this.newest = this.to;
        if (!page.has_more) {
          this.live = true;
          break;
        }
      }
      this.#keep(found);
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

  #look(event, into, low = null) {
    this.searched += 1;
    if (this.#ids.has(event.id) || (this.filter.wanted && !this.filter.takes(event))) return;
    // Before an event of one shard later ones of another may have been read that belong behind this stretch: who goes on behind the event
    // goes on from where the stretch begins.
    into.push(entryOf(event, low && !event.cursor.startsWith("1-") ? low.cursor : event.cursor));
  }

  #keep(found) {
    for (const { event } of found) this.#ids.add(event.id);
  }

  #cut(entries) {
    for (const { event } of entries) if (event) this.#ids.delete(event.id);
    return entries;
  }

  #addBefore(found) {
    if (!found.length) return;
    this.#keep(found);
    this.entries = [...found, ...this.entries];
    if (this.entries.length <= this.kept) return;
    // What is newest goes: the list is not live any more.
    this.#told("cut", this.#cut(this.entries.splice(this.kept)), false);
    this.to = new Place(this.entries.findLast(({ event }) => event).behind);
    this.live = false;
  }

  /** Live events, in order; returns how many were added. */
  push(events) {
    let added = 0;
    for (const event of events) {
      const place = new Place(event.cursor);
      const own = place.own(event.subject);
      if (!this.newest.covers(own)) this.newest = place;
      if (!this.live || this.to.covers(own) || this.#ids.has(event.id)) continue;
      this.to = place;
      if (!this.filter.takes(event)) continue;
      this.#ids.add(event.id);
      this.entries.push(entryOf(event));
      added += 1;
    }
    // A shift for each would cost as much as all the rest; thousands at once would hold a frame up.
    if (this.entries.length > this.kept * (1 + SLACK)) this.#cutStart();
    return added;
  }

  #cutStart() {
    const cut = this.#cut(this.entries.splice(0, this.entries.length - this.kept));
    this.from = new Place(cut.findLast(({ event }) => event)?.event.cursor ?? this.from.cursor);
    this.atStart = false;
    this.#told("cut", cut, true);
  }

  /** A word between the events, such as a gap. */
  note(text, tone) {
    if (this.live) this.entries.push({ at: Date.now(), note: text, tone, event: null, behind: null });
  }

  /** The index of the last event up to a place, or of the first one. */
  find(place) {
    return Math.max(0, this.entries.findLastIndex(({ event }) => event && place.covers(new Place(event.cursor).own(event.subject))));
  }

  /** How far along the rail an entry lies: its sequence in the only stream, else its time (ms). */
  railOf(entry) {
    return this.numbered ? sequenceOf(entry.event.cursor) : entry.at;
  }

  /** The ends of the rail. */
  get rail() {
    if (!this.newest) return [0, 0];
    return this.numbered ? [sequenceOf(this.first.cursor) + 1, sequenceOf(this.newest.cursor)] : [this.oldest, Date.now()];
  }
}

/** `behind` is the cursor of a place behind which everything comes that is behind the event. */
const entryOf = (event, behind = event.cursor) => ({ at: Date.parse(event.timestamp), event, note: null, behind });
