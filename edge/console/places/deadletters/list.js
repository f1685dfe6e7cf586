/** Lists dead letters: counts by reason, filters, pages by cursor, a selection, and what can be done with them. */

import { dotted, h, icon, say, show } from "../../dom.js";
import { number } from "../../format.js";
import { passing, retrying } from "../../parts/again.js";
import { filterBar } from "../../parts/filters.js";
import { SPANS, spanQuery } from "../../parts/span.js";
import { faulty, loading, nothing } from "../../parts/states.js";
import { table } from "../../parts/table.js";
import { time } from "../../parts/time.js";
import { heading, tool } from "../../parts/toolbar.js";
import { counts } from "./counts.js";
import { purgeDialog } from "./purge.js";
import { described, explained } from "./reasons.js";
import { jobList, redriveDialog, remove } from "./redrive.js";

const PAGE = 50;
// Pages of a search without a find that are read before somebody is asked whether to read on.
const READS = 8;
const EVERY = 5_000;
// While something is sent again (ms).
const SOON = 1_000;
// As many as one request may name.
const MOST = 500;
const FIELDS = [
  { name: "text", label: "Search in events, details and destinations", placeholder: "Search …", kind: "search", wide: true },
  { name: "origin", label: "Given up by", kind: "select", options: [["", "From anywhere"], ["webhook", "Webhooks"], ["actor", "Actors"], ["ingest", "Intake"]] },
  { name: "name", label: "Session or actor" },
  { name: "subject", label: "Subject, such as job.>", placeholder: "Subject (job.>)" },
  { name: "event", label: "Event id" },
  { name: "span", label: "Given up when", kind: "select", options: SPANS },
];
const NAMES = ["reason", ...FIELDS.map(({ name }) => name)];

const read = (query) => Object.fromEntries(NAMES.map((name) => [name, query.get(name) ?? ""]));

export class LetterList {
  #context;
  #filter = {};
  #cursor = null;
  #next = null;
  #trail = [];
  #turn = 0;
  #reading = false;
  #seen = null;
  #letters = [];
  #selected = new Map();
  #boxes = new Map();
  #timer = null;
  #closed = false;
  #ends = [];
  #rereading = retrying(() => this.#page());

  constructor(context, params) {
    this.#context = context;
    this.again = tool("Send again…", "restart", () => this.#redrive(), { wide: true });
    this.erase = tool("Delete…", "bin", () => this.#purge(), { wide: true });
    this.head = heading("deadletter", "Dead letters", { tools: [this.again, this.erase] });
    this.counts = counts((reason) => this.#toggle(reason));
    this.head.badges.append(this.counts.total);
    this.bar = filterBar(FIELDS, (values) => this.#narrow({ ...this.#filter, ...values }));
    this.jobs = jobList(context.addressOf, (job) => this.#cancel(job));
    this.whole = h("input", { type: "checkbox", "aria-label": "Select all on this page", onchange: () => this.#selectPage(this.whole.checked) });
    this.table = table({ label: "Dead letters", key: ({ id }) => id, columns: this.#columns() });
    this.state = h("div", {}, loading("the dead letters"));
    this.newer = h("button.quiet", { type: "button", onclick: () => this.#go(this.#trail.pop() ?? null) }, icon("undo"), h("span", {}, "Newer"));
    this.older = h("button.quiet", { type: "button", onclick: () => { this.#trail.push(this.#cursor); this.#go(this.#next); } }, h("span", {}, "Older"), icon("chevron"));
    this.place = h("span.faint", { role: "status" });
    this.pages = h("nav.pages", { "aria-label": "Pages", hidden: true }, this.newer, this.older, this.place);
    this.element = h("section.page.deadletters", { id: "deadletters" }, this.head.element, this.jobs.element, this.counts.full, this.counts.reasons, this.bar.element, this.state, this.table.element, this.pages);
    show(this.table.element, false);
    this.#filter = read(params.query);
    this.bar.set(this.#filter);
    this.#go(params.query.get("cursor"));
    this.#ends.push(context.client.onState(({ phase }) => phase === "live" && this.#refresh(true)));
    const look = () => !document.hidden && this.#refresh();
    document.addEventListener("visibilitychange", look);
    this.#ends.push(() => document.removeEventListener("visibilitychange", look));
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#rereading.stop();
    for (const end of this.#ends) end();
  }

  /** The filter as requests have it. */
  #asked() {
    const { span, ...rest } = this.#filter;
    return Object.fromEntries(Object.entries({ ...rest, ...spanQuery(span, this.#context.now()) }).filter(([, value]) => value));
  }

  #narrow(filter) {
    this.#filter = filter;
    this.#trail = [];
    this.#selected.clear();
    this.#go(null);
  }

  #go(cursor) {
    this.#cursor = cursor;
    this.#context.mark([], { ...this.#filter, cursor });
    this.state.replaceChildren(loading("the dead letters"));
    show(this.state, !this.#letters.length);
    return this.#page();
  }

  /** Reads a page; goes on through pages on which nothing matches, as far as is bearable. */
  async #page(reads = READS, from = this.#cursor) {
    const turn = (this.#turn += 1);
    this.#reading = true;
    const found = [];
    let cursor = from;
    try {
      for (let at = 0; at < reads && found.length < PAGE; at += 1) {
        const query = new URLSearchParams({ ...this.#asked(), limit: PAGE - found.length, ...(cursor ? { cursor } : {}) });
        const page = await this.#context.client.get(`/deadletters?${query}`);
        if (turn !== this.#turn || this.#closed) return;
        found.push(...page.deadletters);
        cursor = page.next;
        if (!cursor) break;
      }
    } catch (fault) {
      if (turn !== this.#turn || this.#closed) return;
      this.#reading = false;
      this.#fail(fault);
      return;
    }
    this.#reading = false;
    this.#rereading.done();
    this.#next = cursor;
    this.#letters = found;
    this.#show();
  }

  #fail(fault) {
    // What is shown from before stays where the server cannot be reached: the frame says so.
    if (this.#letters.length && passing(fault)) {
      this.#rereading.after(fault);
      return;
    }
    this.#letters = [];
    this.#show();
    this.state.replaceChildren(faulty(fault, "the dead letters", { right: "operate", again: () => this.#refresh(true) }));
  }

  #show() {
    const letters = this.#letters;
    const here = new Set(letters.map(({ id }) => id));
    for (const id of this.#boxes.keys()) if (!here.has(id)) this.#boxes.delete(id);
    this.table.set(letters);
    show(this.state, !letters.length);
    if (!letters.length) this.state.replaceChildren(this.#none());
    show(this.newer, Boolean(this.#trail.length || this.#cursor));
    show(this.older, Boolean(this.#next));
    show(this.pages, Boolean(this.#next || this.#cursor));
    say(this.place, letters.length ? `Dead letters ${letters.at(0).id} to ${letters.at(-1).id}` : "");
    this.#tell();
  }

  #none() {
    const narrowed = Object.values(this.#filter).some(Boolean);
    if (this.#next) {
      const on = h("button.quiet", { type: "button", onclick: () => this.#page(READS * 4, this.#next) }, icon("search"), h("span", {}, "Search on"));
      return nothing({ icon: "search", title: "Nothing found so far", text: "There are older dead letters that were not read yet.", action: on });
    }
    if (narrowed) {
      const clear = h("button.quiet", { type: "button", onclick: () => { this.bar.set({}); this.#narrow(read(new URLSearchParams())); } }, h("span", {}, "Show all"));
      return nothing({ icon: "search", title: "No dead letter matches", text: "None that is kept matches this filter.", action: clear });
    }
    return nothing({ icon: "check", title: "No dead letters", text: "Whatever could not be delivered after all attempts comes here, with the reason. Right now there is none." });
  }

  #columns() {
    return [
      { name: "select", title: this.whole, cell: (letter) => this.#box(letter) },
      { name: "reason", title: "Reason", cell: (letter) => h("a.row-link", { href: this.#context.addressOf("deadletters", [letter.id]), tabindex: -1, title: letter.detail || null }, explained(letter.reason).title) },
      { name: "event", title: "Event", cell: (letter) => h("span.subject", { title: letter.event_id ?? "" }, dotted(letter.from.subject)) },
      { name: "to", title: "Meant for", narrow: true, cell: (letter) => h("span", { title: letter.destination }, letter.origin === "webhook" ? letter.destination || letter.name : letter.name) },
      { name: "attempts", title: "Attempts", narrow: true, end: true, cell: (letter) => number(letter.attempts) },
      { name: "when", title: "Given up", end: true, cell: (letter) => time(letter.buried) },
    ];
  }

  #box(letter) {
    if (!this.#boxes.has(letter.id)) {
      const box = h("input", { type: "checkbox", "aria-label": `Select dead letter ${letter.id}`, onchange: () => this.#select(letter, box.checked) });
      this.#boxes.set(letter.id, box);
    }
    const box = this.#boxes.get(letter.id);
    box.checked = this.#selected.has(letter.id);
    return box;
  }

  #select(letter, wish) {
    if (!wish) this.#selected.delete(letter.id);
    else if (this.#selected.size < MOST) this.#selected.set(letter.id, letter);
    else this.#context.toast(`At most ${MOST} can be selected. Narrow the filter and take all that match.`, "warn");
    this.#boxes.get(letter.id).checked = this.#selected.has(letter.id);
    this.#tell();
  }

  #selectPage(wish) {
    for (const letter of this.#letters) this.#select(letter, wish);
  }

  #tell() {
    const chosen = this.#selected.size;
    const some = chosen > 0 || this.#letters.length > 0;
    for (const [button, verb] of [[this.again, "Send"], [this.erase, "Delete"]]) {
      const text = chosen ? `${verb} ${number(chosen)} ${verb === "Send" ? "again…" : "…"}` : verb === "Send" ? "Send all again…" : "Delete all…";
      say(button.querySelector("span"), text);
      button.title = text;
      button.setAttribute("aria-label", text);
      button.disabled = !some;
    }
    const here = this.#letters.filter(({ id }) => this.#selected.has(id)).length;
    this.whole.checked = here > 0 && here === this.#letters.length;
    this.whole.indeterminate = here > 0 && here < this.#letters.length;
  }

  /** What is meant by the buttons, as `{ what, filter }`. */
  #meant() {
    // What was typed a moment ago counts already.
    this.bar.flush();
    const ids = [...this.#selected.keys()];
    if (ids.length) return { what: ids.length === 1 ? "The dead letter that is selected" : `The ${number(ids.length)} dead letters that are selected`, filter: { ids } };
    const filter = this.#asked();
    return { what: Object.keys(filter).length ? `All dead letters that match: ${described(filter)}` : "All dead letters", filter };
  }

  async #redrive() {
    const { what, filter } = this.#meant();
    const job = await redriveDialog(this.#context, { what, order: { filter }, session: filter.name?.startsWith("sess_") ? filter.name : null });
    if (!job) return;
    this.#selected.clear();
    this.#context.toast("They are being sent again; the list shows how far that is.", "info");
    this.#refresh(true);
  }

  async #purge() {
    const gone = await purgeDialog(this.#context, this.#meant());
    if (gone === null) return;
    this.#selected.clear();
    this.#context.toast(`${number(gone)} dead letter${gone === 1 ? "" : "s"} deleted.`);
    this.#go(null);
    this.#refresh(true);
  }

  async #cancel(job) {
    try {
      await remove(this.#context.client, `/deadletters/jobs/${job.id}`);
    } catch (fault) {
      this.#context.toast(`It could not be cancelled: ${fault.message}.`, "bad");
    }
    this.#refresh();
  }

  /** Reads the counts and jobs, and the first page again where something has changed. */
  async #refresh(all = false) {
    clearTimeout(this.#timer);
    let running = false;
    try {
      const { client } = this.#context;
      const [summary, { jobs }] = await Promise.all([client.get("/deadletters/summary"), client.get("/deadletters/jobs")]);
      if (this.#closed) return;
      running = jobs.some(({ state }) => state === "running");
      this.jobs.set(jobs);
      this.counts.set(summary, this.#filter.reason);
      const seen = JSON.stringify([summary.total, summary.by_reason, summary.oldest]);
      // Who reads an older page, or has turned pages, is not carried away from it.
      if ((all || (this.#seen !== null && seen !== this.#seen)) && !this.#trail.length && !this.#reading) this.#page();
      this.#seen = seen;
    } catch (fault) {
      if (all && !this.#closed && !this.#letters.length) this.#fail(fault);
    }
    if (this.#closed) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => (document.hidden ? null : this.#refresh()), running ? SOON : EVERY);
  }

  #toggle(reason) {
    const wanted = this.#filter.reason === reason ? "" : reason;
    for (const chip of this.counts.reasons.children) chip.setAttribute("aria-pressed", String(chip.dataset.reason === wanted));
    this.#narrow({ ...this.#filter, reason: wanted });
  }
}
