/** Lists runs: those of the stream as they go on, and with a filter all that are stored, page by page. */

import { escapeToken } from "../../../client/tokens.js";
import { h, icon, say, show } from "../../dom.js";
import { moment, number } from "../../format.js";
import { retrying } from "../../parts/again.js";
import { filterBar } from "../../parts/filters.js";
import { SPANS, spanOf, spanQuery } from "../../parts/span.js";
import { faulty, kindOf, loading, nothing } from "../../parts/states.js";
import { heading } from "../../parts/toolbar.js";
import { TERMINAL } from "../../store.js";
import { absence } from "../../views/absence.js";
import { badge, rebadge } from "../../views/panel.js";
import { RunRow } from "../../views/runs.js";

const PAGE = 50;
// More are found by a narrower filter.
const MOST = 1_000;
const TICK = 1_000;
const KINDS = { agent: "Agents", job: "Jobs", thread: "Threads" };
const FIELDS = [
  { name: "text", label: "Search names, ids, stages and errors", placeholder: "Search …", kind: "search", wide: true },
  { name: "status", label: "State", kind: "select", options: [["", "Any state"], ["running", "Running"], ["stopping", "Stopping"], ["completed", "Completed"], ["failed", "Failed"], ["cancelled", "Cancelled"]] },
  { name: "domain", label: "Kind", kind: "select", options: [["", "Any kind"], ...Object.entries(KINDS)] },
  { name: "span", label: "Heard of last, or ended", kind: "select", options: SPANS },
];
const NAMES = FIELDS.map(({ name }) => name);
const LAST_NIGHT = { status: "failed", span: "night" };
const SEARCHED = ["run", "name", "stage", "message", "error"];
const TIMES = new Set(SPANS.map(([name]) => name));

const read = (query) => {
  const given = Object.fromEntries(NAMES.map((name) => [name, query.get(name) ?? ""]));
  return { ...given, span: TIMES.has(given.span) ? given.span : "" };
};
export const keyOf = (domain, run) => `${domain}.${escapeToken(String(run))}`;
/** A run of an answer as the store has them. */
export const ofAnswer = (run) => ({ lines: [], recalled: false, ...run, key: keyOf(run.domain, run.run), updated: moment(run.updated), started: moment(run.started) });

const order = (a, b) =>
  TERMINAL.has(a.status) - TERMINAL.has(b.status)
  || (TERMINAL.has(a.status) ? b.updated - a.updated : (b.started || 0) - (a.started || 0))
  || (a.key < b.key ? -1 : 1);

export class RunList {
  #context;
  #filter;
  #found = new Map();
  #next = null;
  #total = null;
  #fault = null;
  #reading = false;
  #turn = 0;
  // From where on runs are asked for, null for the first page.
  #cursor = null;
  #rereading = retrying(() => this.#read(this.#cursor));
  #closed = false;
  #rows = new Map();
  #ends = [];
  #timer;

  constructor(context, params) {
    this.#context = context;
    this.#filter = read(params.query);
    const { store, client } = context;
    this.head = heading("runs", "Runs");
    this.count = badge("");
    this.empty = absence("job", {
      title: "Nothing is running",
      explanation: "Put any command behind this one: its output, its progress and its exit code appear here and on every subscriber.",
      command: `callboard run -- sh -c 'for i in 25 50 75 100; do echo "$i%"; sleep 1; done'`,
    });
    this.head.badges.append(this.count, this.empty.badge);
    this.bar = filterBar(FIELDS, (values) => this.#narrow(values));
    this.night = h("button.chip", { type: "button", onclick: () => this.#lastNight() }, icon("clock"), "Failed last night");
    this.bar.element.append(this.night);
    this.bar.set(this.#filter);
    this.list = h("ol.run-rows", { "aria-label": "Runs" });
    this.state = h("div.run-state");
    this.more = h("button.quiet.more-runs", { type: "button", hidden: true, onclick: () => this.#read(this.#next) }, icon("down"), h("span", {}, "Show more"));
    this.element = h("section.page.runs-place", { id: "runs" }, this.head.element, this.bar.element, this.state, h("div.card.rows-card", {}, ...this.empty.elements, this.list), this.more);
    this.card = this.element.querySelector(".rows-card");
    this.#ends.push(store.watch("runs", () => this.#draw()), client.onState(({ phase }) => phase === "live" && this.#read()));
    if (client.state.phase !== "live") this.#read();
    this.#timer = setInterval(() => !document.hidden && this.#draw(), TICK);
  }

  close() {
    this.#closed = true;
    clearInterval(this.#timer);
    this.#rereading.stop();
    for (const end of this.#ends) end();
  }

  get #narrowed() {
    return Object.values(this.#filter).some(Boolean);
  }

  #narrow(filter) {
    this.#filter = filter;
    this.#context.mark([], filter);
    this.#found.clear();
    this.#next = null;
    this.#total = null;
    this.#draw();
    this.#read();
  }

  #lastNight() {
    const on = this.night.getAttribute("aria-pressed") === "true";
    const filter = { ...this.#filter, ...(on ? { status: "", span: "" } : LAST_NIGHT) };
    this.bar.set(filter);
    this.#narrow(filter);
  }

  async #read(cursor = null) {
    const turn = (this.#turn += 1);
    this.#cursor = cursor;
    const { client, now } = this.#context;
    const { span, ...rest } = this.#filter;
    const given = Object.entries({ ...rest, ...spanQuery(span, now()), cursor, limit: PAGE }).filter(([, value]) => value);
    this.#reading = true;
    try {
      const { runs, next, total } = await client.get(`/runs?${new URLSearchParams(given)}`);
      if (turn !== this.#turn || this.#closed) return;
      if (!cursor) this.#found.clear();
      for (const run of runs) this.#found.set(keyOf(run.domain, run.run), ofAnswer(run));
      [this.#next, this.#total, this.#fault] = [this.#found.size < MOST ? next : null, total, null];
      this.#rereading.done();
    } catch (fault) {
      if (turn !== this.#turn || this.#closed) return;
      this.#fault = fault;
      this.#rereading.after(fault);
    }
    this.#reading = false;
    this.#draw();
  }

  #matches(run) {
    const { status, domain, text, span } = this.#filter;
    if ((status && run.status !== status) || (domain && run.domain !== domain)) return false;
    if (text && !SEARCHED.some((field) => String(run[field] ?? "").toLowerCase().includes(text.toLowerCase()))) return false;
    const { since, until } = spanOf(span, this.#context.now());
    return (since === null || run.updated >= since) && (until === null || run.updated < until);
  }

  /** What is found and what the stream tells, each in its newest state. */
  #all() {
    const all = new Map(this.#found);
    for (const run of this.#context.store.runs.values()) {
      const known = all.get(run.key);
      if (known && known.updated > run.updated) continue;
      if (this.#matches(run)) all.set(run.key, run);
      else all.delete(run.key);
    }
    return [...all.values()].sort(order);
  }

  #draw() {
    if (this.#closed) return;
    const now = this.#context.now();
    const runs = this.#all();
    runs.forEach((run, at) => {
      let row = this.#rows.get(run.key);
      if (!row) {
        row = new RunRow(run, { open: (each) => this.#open(each), stop: (each) => this.#stop(each), href: this.#context.addressOf("runs", [run.domain, run.run]) });
        this.#rows.set(run.key, row);
      }
      // Its lines stay, whichever of the two told its newest state.
      if (row.run && row.run !== run && !run.lines.length) Object.assign(run, { lines: row.run.lines, recalled: row.run.recalled, unread: row.run.unread });
      row.draw(run, now);
      // Moved only when its place changed: a moved element loses its focus.
      if (this.list.children[at] !== row.element) this.list.insertBefore(row.element, this.list.children[at] ?? null);
    });
    const shown = new Set(runs.map(({ key }) => key));
    for (const [key, row] of this.#rows) {
      if (shown.has(key)) continue;
      row.element.remove();
      this.#rows.delete(key);
    }
    this.#tell(runs);
  }

  #tell(runs) {
    const running = runs.filter((run) => !TERMINAL.has(run.status)).length;
    const narrowed = this.#narrowed;
    const text = narrowed ? `${number(Math.max(runs.length, this.#total ?? 0))} found` : running ? `${running} running` : runs.length ? "all done" : "";
    rebadge(this.count, text, running ? "info" : "quiet");
    show(this.count, Boolean(text) && (runs.length > 0 || narrowed));
    const situation = this.#context.store.situation("runs");
    const waiting = this.#reading && !this.#found.size;
    const withheld = situation && situation.kind !== "partial";
    this.empty.tell(situation, runs.length === 0 && (withheld || !narrowed) && !waiting);
    this.#explain(runs.length === 0 && (narrowed || waiting) && (waiting || !withheld), waiting);
    show(this.list, runs.length > 0);
    show(this.card, runs.length > 0 || this.empty.elements.some(({ hidden }) => !hidden));
    show(this.more, Boolean(this.#next));
    const { status, span } = this.#filter;
    this.night.setAttribute("aria-pressed", String(status === LAST_NIGHT.status && span === LAST_NIGHT.span));
  }

  /** In the place of rows: that they are read, that none matches, or why they could not be read. */
  #explain(needed, waiting) {
    const kind = !needed ? "" : this.#fault ? kindOf(this.#fault) : waiting ? "loading" : "empty";
    show(this.state, needed);
    if (this.state.dataset.kind === kind) return;
    this.state.dataset.kind = kind;
    if (!needed) return;
    if (this.#fault) this.state.replaceChildren(faulty(this.#fault, "the runs", { right: "read job.>, agent.> or thread.>", again: () => this.#read() }));
    else if (waiting) this.state.replaceChildren(loading("the runs"));
    else {
      const clear = h("button.quiet", { type: "button", onclick: () => { this.bar.set({}); this.#narrow(read(new URLSearchParams())); } }, h("span", {}, "Show all"));
      this.state.replaceChildren(nothing({ icon: "search", title: "No run matches", text: "None that is kept matches this filter.", action: clear }));
    }
  }

  async #open(row) {
    row.expand(!row.expanded);
    const { run } = row;
    if (!row.expanded || run.recalled) return;
    const { store, client } = this.#context;
    // A run that is older than what the store keeps is put there first.
    if (!store.runs.has(run.key)) store.load("runs", [run]);
    try {
      store.recall(run.key, await client.history([`${run.key}.>`], 100));
    } catch (fault) {
      store.recall(run.key, [], fault.message);
    }
  }

  async #stop(row) {
    const { client, now } = this.#context;
    row.asking = true;
    row.asked = null;
    row.draw(row.run, now());
    try {
      const { run, domain } = row.run;
      await client.post(`/runs/${encodeURIComponent(run)}/stop`, { domain, reason: "asked on the page" });
    } catch (fault) {
      row.asked = `It could not be stopped: ${fault.message}.`;
    }
    row.asking = false;
    row.draw(row.run, now());
  }
}
