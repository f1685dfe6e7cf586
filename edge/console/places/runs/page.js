/** The page of one run: why it failed, how far it is, its steps, its text and output as they come, and what caused it. */

import { copyButton, h, icon, say, show } from "../../dom.js";
import { retrying } from "../../parts/again.js";
import { confirm } from "../../parts/dialog.js";
import { denied, faulty, kindOf, loading } from "../../parts/states.js";
import { heading, tool } from "../../parts/toolbar.js";
import { TERMINAL } from "../../store.js";
import { badge, rebadge } from "../../views/panel.js";
import { pictureOf, wordOf } from "../../views/runs.js";
import { causeCard, progressCard, whyCard } from "./cards.js";
import { keyOf, ofAnswer } from "./list.js";
import { outputView } from "./output.js";
import { RunRecord, TYPES } from "./record.js";
import { stageTree } from "./tree.js";

// What is read of the past; the rest is in the stream.
const LAST = 2_000;
const TICK = 1_000;
const KINDS = { agent: "Agent", job: "Job", thread: "Thread" };

export class RunPage {
  #context;
  #domain;
  #id;
  #key;
  #run = null;
  #fault = null;
  #denied = false;
  #reading = false;
  #again = false;
  #rereading = retrying(() => this.#read());
  #stages = [];
  #leftOut = 0;
  #record = new RunRecord();
  #recent = [];
  #ends = [];
  #closed = false;
  #asked = null;
  #asking = false;
  #drawing = 0;
  #timer;

  constructor(context, [domain, id]) {
    this.#context = context;
    this.#domain = domain;
    this.#id = id;
    this.#key = keyOf(domain, id);
    this.title = id;
    this.#build();
    const { client } = context;
    this.#ends.push(client.onState(({ phase }) => phase === "live" && this.#read()));
    if (client.state.phase !== "live") this.#read();
    // What its token may read is often known only after the answer.
    this.#ends.push(context.store.watch("runs", () => this.#fault && !this.#run && this.#hidden(this.#fault) !== this.#denied && this.#fail(this.#fault)));
    const told = client.subscribe({ subjects: [`${this.#key}.state`, `${this.#key}.stages`] }, (event) => this.#told(event));
    const heard = client.subscribe({ subjects: [`${this.#key}.>`], types: TYPES, last: LAST }, (event) => {
      this.#record.take(event);
      this.#touch();
    });
    this.#ends.push(() => told.close(), () => heard.close());
    this.#timer = setInterval(() => !document.hidden && this.#touch(), TICK);
  }

  close() {
    this.#closed = true;
    clearInterval(this.#timer);
    this.#rereading.stop();
    cancelAnimationFrame(this.#drawing);
    for (const end of this.#ends) end();
  }

  #build() {
    const { addressOf } = this.#context;
    this.stop = tool("Stop", "stop", () => this.#stop(), { wide: true });
    this.stop.classList.add("stop");
    const events = h("a.quiet", { href: addressOf("events", [], { subject: `${this.#key}.>` }) }, icon("stream"), "Its events");
    this.head = heading(["agent", "job", "thread"].includes(this.#domain) ? this.#domain : "runs", this.#id, { back: { href: addressOf("runs"), label: "Runs" }, tools: [events, this.stop] });
    this.status = badge("");
    this.head.badges.append(this.status, badge(KINDS[this.#domain] ?? this.#domain));
    this.why = whyCard();
    this.refused = h("p.why", { role: "alert", hidden: true });
    this.far = progressCard();
    this.picture = h("a.picture", { target: "_blank", rel: "noopener", hidden: true });
    this.tree = stageTree(this.#context);
    this.steps = h("section.card.steps", { "aria-label": "Steps", hidden: true }, h("h3", {}, "Steps"), this.tree.element);
    this.text = h("div.answer", { tabindex: 0, role: "log", "aria-label": "Text" });
    this.answer = h("section.card", { "aria-label": "Text", hidden: true }, this.#title("Text", () => this.#record.text), this.text);
    this.thought = h("div.answer.thought", { tabindex: 0, role: "log", "aria-label": "Thinking" });
    this.thinking = h("details.card.thinking", { hidden: true }, h("summary", {}, "Thinking"), this.thought);
    this.log = outputView();
    this.printed = h("section.card", { "aria-label": "Output", hidden: true }, this.#title("Output", () => this.log.text()), this.log.element);
    this.silent = h("p.faint.silent", { hidden: true }, "This run has said nothing.");
    this.causes = causeCard(addressOf);
    this.columns = h("div.columns", {}, this.steps, h("div.column", {}, this.answer, this.thinking, this.printed, this.silent));
    this.content = h("div.run-page", { hidden: true }, this.why.element, this.refused, this.far.element, this.picture, this.columns, this.causes.element);
    this.state = h("div", {}, loading("the run"));
    this.element = h("section.page.runs-place", { id: "runs", dataset: { run: this.#id } }, this.head.element, this.state, this.content);
    show(this.stop, false);
  }

  #title(name, text) {
    return h("div.card-title", {}, h("h3", {}, name), copyButton("Copy", text));
  }

  async #read() {
    if (this.#reading) {
      this.#again = true;
      return;
    }
    [this.#reading, this.#again] = [true, false];
    const { client } = this.#context;
    try {
      const answer = await client.get(`/runs/${encodeURIComponent(this.#id)}?domain=${encodeURIComponent(this.#domain)}`);
      const { stages, stages_left_out: leftOut, ...run } = answer;
      [this.#stages, this.#leftOut, this.#again] = [stages, leftOut, false];
      this.#rereading.done();
      if (!this.#closed) this.#take(ofAnswer(run));
    } catch (fault) {
      this.#again &&= !fault.status;
      if (!this.#closed) {
        this.#unread(fault);
        this.#rereading.after(fault);
      }
    }
    this.#reading = false;
    // It began before the connection was there.
    if (this.#again && !this.#closed) this.#read();
  }

  #unread(fault) {
    const known = this.#context.store.runs.get(this.#key);
    if (known) this.#take(known);
    else if (!this.#run) this.#fail(fault);
  }

  /** Whether a run that is not found may be one that the token may not read. */
  #hidden(fault) {
    return kindOf(fault) === "missing" && ["denied", "partial"].includes(this.#context.store.situation("runs")?.kind);
  }

  #fail(fault) {
    this.#fault = fault;
    this.#denied = this.#hidden(fault);
    const right = `read ${this.#key}.>`;
    this.state.replaceChildren(this.#denied
      ? denied("this run", right, "Or there is none of this name.")
      : faulty(fault, kindOf(fault) === "missing" ? `run ${this.#id}` : "the run", { right, again: () => this.#read() }));
  }

  /** What the stream says of it: its state, and its stages. */
  #told({ event_type: type, data, timestamp }) {
    if (type === "stages") {
      [this.#stages, this.#leftOut] = [Array.isArray(data.stages) ? data.stages : [], data.left_out ?? 0];
      this.#touch();
    } else if (type === "state") this.#take(ofAnswer({ ...data, run: this.#id, domain: this.#domain, updated: data.updated ?? timestamp }));
  }

  #take(run) {
    if (this.#run && this.#run.updated > run.updated) return;
    this.#run = run;
    this.#touch();
  }

  #touch() {
    if (!this.#closed) this.#drawing ||= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#drawing = 0;
    const fresh = this.#record.fresh.splice(0);
    this.log.add(fresh);
    this.#recent = [...this.#recent, ...fresh.filter(({ kind }) => kind === "line")].slice(-200);
    const run = this.#run;
    if (!run) return;
    const now = this.#context.now();
    const over = TERMINAL.has(run.status);
    show(this.state, false);
    show(this.content, true);
    const name = run.name || this.#id;
    if (this.title !== name) {
      this.title = name;
      this.#context.retitle(name);
    }
    say(this.head.title, name);
    rebadge(this.status, ...wordOf(run.status));
    this.content.dataset.status = String(run.status);
    this.far.set(run, this.#key, now);
    this.why.set(run, { stages: this.#stages, errors: this.#record.errors, recent: this.#recent });
    this.#drawPicture(pictureOf(run.picture));
    show(this.stop, !over);
    this.stop.disabled = this.#asking || run.status === "stopping";
    show(this.refused, Boolean(this.#asked));
    say(this.refused, this.#asked ?? "");
    show(this.steps, this.#stages.length > 0);
    if (this.#stages.length) this.tree.set(this.#stages, { leftOut: this.#leftOut, tools: this.#record.tools, now });
    this.#drawText(over);
    this.causes.set(this.#record);
  }

  #drawPicture(address) {
    show(this.picture, Boolean(address));
    if (!address || this.picture.getAttribute("href") === address) return;
    this.picture.href = address;
    this.picture.replaceChildren(h("img", { alt: "The last picture of this render", loading: "lazy", src: address }));
  }

  #drawText(over) {
    const { text, thought, lines } = this.#record;
    show(this.answer, Boolean(text));
    follow(this.text, text);
    this.text.classList.toggle("going", !over);
    show(this.thinking, Boolean(thought));
    follow(this.thought, thought);
    show(this.printed, lines > 0);
    show(this.silent, !text && !lines && !thought);
    say(this.silent, this.#record.count || over ? "This run has said nothing." : "Nothing was said so far.");
  }

  async #stop() {
    const { client } = this.#context;
    if (!(await confirm(`Stop ${this.title}?`, { text: "Its producer is asked to end it. What it has done so far stays.", action: "Stop", danger: true }))) return;
    this.#asking = true;
    this.#asked = null;
    this.#touch();
    try {
      await client.post(`/runs/${encodeURIComponent(this.#id)}/stop`, { domain: this.#domain, reason: "asked on the page" });
    } catch (fault) {
      this.#asked = `It could not be stopped: ${fault.message}.`;
    }
    this.#asking = false;
    this.#touch();
  }
}

/** Appends what is new of a text that grows, so that a selection in it stays; follows its end where that is seen. */
function follow(element, text) {
  const shown = element.textContent;
  if (shown === text) return;
  const stuck = element.scrollTop + element.clientHeight >= element.scrollHeight - 8;
  if (shown && text.startsWith(shown)) element.append(text.slice(shown.length));
  else element.textContent = text;
  if (stuck) element.scrollTop = element.scrollHeight;
}
