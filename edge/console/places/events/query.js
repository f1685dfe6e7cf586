/** What the Events place asks the server for: a filter, as it stands in the address, in a query, and in the page itself. */

import { covers } from "../../../client/cursor.js";

/** The demo's own chatter: several a second for each camera and render. */
export const MUTED = Object.freeze({ type: "statistics", domains: ["camera", "octane"] });
const MUTE = `!(type == "${MUTED.type}" && domain in ${JSON.stringify(MUTED.domains)})`;

const listed = (text) => text.split(",").map((each) => each.trim()).filter(Boolean);
const text = (value) => JSON.stringify(String(value));

export const FIELDS = ["q", "subject", "type", "filter", "since", "demo"];

/** Reads a filter from values: q (text), subject and type (lists with commas), filter (CEL), since (a time), demo ("1": not muted). */
export class Filter {
  constructor(values = {}) {
    this.q = (values.q ?? "").trim();
    this.subjects = listed(values.subject ?? "");
    this.types = listed(values.type ?? "");
    this.cel = (values.filter ?? "").trim();
    this.since = (values.since ?? "").trim();
    this.demo = Boolean(values.demo);
    this.wanted = this.q.toLowerCase();
  }

  get values() {
    return { q: this.q, subject: this.subjects.join(", "), type: this.types.join(", "), filter: this.cel, since: this.since, demo: this.demo ? "1" : "" };
  }

  /** Whether anything is left out that somebody asked to leave out. */
  get narrows() {
    return Boolean(this.q || this.subjects.length || this.types.length || this.cel);
  }

  /** Whether the demo's statistics are left out: who asks for them by name gets them. */
  get mutes() {
    return !this.demo && !this.types.includes(MUTED.type);
  }

  /** For a page of the past; `more` is another CEL condition. */
  query(more = "") {
    const conditions = [this.cel && `(${this.cel})`, this.mutes && MUTE, more].filter(Boolean);
    return {
      ...(this.subjects.length && { subjects: this.subjects.join() }),
      ...(this.types.length && { types: this.types.join() }),
      ...(conditions.length && { filter: conditions.join(" && ") }),
    };
  }

  /** For what comes from now on. Without a CEL condition this is read by the connection that all tabs share. */
  live() {
    return {
      ...(this.subjects.length && { subjects: this.subjects }),
      ...(this.types.length && { types: this.types }),
      ...(this.cel && { filter: this.mutes ? `(${this.cel}) && ${MUTE}` : this.cel }),
    };
  }

  /** Whether an event that the server sent is for this list. */
  takes(event) {
    if (this.mutes && event.event_type === MUTED.type && MUTED.domains.includes(event.subject.slice(0, event.subject.indexOf(".")))) return false;
    if (this.types.length && !this.types.includes(event.event_type)) return false;
    if (this.subjects.length && !this.subjects.some((pattern) => covers(pattern, event.subject))) return false;
    return !this.wanted || matches(event, this.wanted);
  }
}

/** Full text: everything that an event says, whatever its case. */
export const matches = (event, wanted) =>
  `${event.event_type} ${event.subject} ${event.source} ${event.id} ${JSON.stringify(event.data)}`.toLowerCase().includes(wanted);

/** The condition that names one event, and the time from which it is looked for: the first 48 bits of its id, in ms. */
export function byId(id) {
  const born = Number.parseInt(id.replaceAll("-", "").slice(0, 12), 16);
  return { filter: `id == ${text(id)}`, since: Number.isFinite(born) && born > 1e12 && born < 1e13 ? new Date(born - 60_000).toISOString() : null };
}

export const causedBy = (id) => `cause == ${text(id)}`;
