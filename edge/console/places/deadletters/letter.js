/** Shows one dead letter: why it was given up and what to do, its attempts, and the event. */

import { h, icon, show } from "../../dom.js";
import { bytes, duration, milliseconds, moment, number } from "../../format.js";
import { confirm } from "../../parts/dialog.js";
import { jsonView } from "../../parts/json.js";
import { faulty, loading, sentence } from "../../parts/states.js";
import { time } from "../../parts/time.js";
import { heading, tool } from "../../parts/toolbar.js";
import { PLACES } from "../../places.js";
import { badge } from "../../views/panel.js";
import { explained } from "./reasons.js";
import { outcome, redriveDialog, remove } from "./redrive.js";

// How often it is asked what became of it after it was sent again (ms).
const ASKING = 500;
const ORIGINS = { webhook: "Webhook", actor: "Actor", ingest: "Intake" };

const has = (name) => PLACES.some((place) => place.name === name);

export class Letter {
  #context;
  #id;
  #session = null;
  #closed = false;

  constructor(context, id) {
    this.#context = context;
    this.#id = id;
    this.title = `Dead letter ${id}`;
    this.again = tool("Send again…", "restart", () => this.#redrive(), { wide: true });
    this.erase = tool("Delete…", "bin", () => this.#delete(), { wide: true });
    this.head = heading("deadletter", this.title, { back: { href: context.addressOf("deadletters"), label: "Dead letters" }, tools: [this.again, this.erase] });
    this.content = h("div.letter", {}, loading("the dead letter"));
    this.element = h("section.page.deadletters", { id: "deadletters" }, this.head.element, this.content);
    for (const each of [this.again, this.erase]) show(each, false);
    this.#read();
  }

  close() {
    this.#closed = true;
  }

  async #read() {
    const { client } = this.#context;
    try {
      this.#draw(await client.get(`/deadletters/${encodeURIComponent(this.#id)}`));
    } catch (fault) {
      if (this.#closed) return;
      this.content.replaceChildren(faulty(fault, `dead letter ${this.#id}`, { right: "operate", again: () => this.#read() }));
    }
  }

  #draw(letter) {
    if (this.#closed) return;
    const { title, text, advice } = explained(letter.reason);
    this.#session = letter.origin === "webhook" ? letter.name : null;
    for (const each of [this.again, this.erase]) show(each, true);
    this.head.badges.replaceChildren(badge(ORIGINS[letter.origin] ?? letter.origin, "quiet"), letter.redrives ? badge(`sent again ${letter.redrives}×`, "warn") : "");
    const why = h("section.card.why-card", { "aria-label": "Why" },
      h("p.line", {}, h("span.mark", {}, icon("alert")), h("strong", {}, title), h("code", {}, letter.reason)),
      h("p", {}, text), letter.detail && h("pre.detail-text", { tabindex: 0, "aria-label": "Detail" }, letter.detail), h("p.advice", {}, advice));
    this.content.replaceChildren(why, h("div.columns", {}, this.#facts(letter), this.#event(letter)));
  }

  #facts(letter) {
    const { addressOf } = this.#context;
    const owner = letter.origin === "webhook" && has("webhooks") ? ["webhooks", [letter.name]] : letter.origin === "webhook" && has("sessions") ? ["sessions", [letter.name]] : letter.origin === "actor" && has("actors") ? ["actors", [letter.name]] : null;
    const rows = [
      [letter.origin === "webhook" ? "Session" : letter.origin === "actor" ? "Actor" : "Stream", owner ? h("a", { href: addressOf(...owner) }, letter.name) : letter.name],
      ["Destination", letter.destination], ["Attempts", number(letter.attempts)],
      ["First attempt", letter.first && time(letter.first)], ["Last attempt", letter.last && time(letter.last)],
      ["Given up", time(letter.buried)], ["Sent again", letter.redrives ? `${letter.redrives === 1 ? "once" : `${number(letter.redrives)} times`}, without success` : "not yet"],
      ["Reported by", letter.source !== letter.name && letter.source], ["Size", bytes(letter.bytes)],
      ["Stored at", `${letter.from.stream} ${number(letter.from.sequence)}`],
    ];
    const took = moment(letter.last) - moment(letter.first);
    if (took > 0) rows.splice(5, 0, ["Tried for", took < 10_000 ? milliseconds(took) : duration(took / 1000)]);
    return h("section.card.facts-card", { "aria-label": "Attempts" }, h("h3", {}, "Attempts"), h("dl.figures-list", {}, ...rows.filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))));
  }

  #event(letter) {
    const { addressOf } = this.#context;
    const links = h("div.row-of-buttons", {},
      letter.from.cursor && h("a.quiet", { href: addressOf("events", [], { at: letter.from.cursor }) }, icon("stream"), "Show in the stream"),
      letter.from.subject && h("a.quiet", { href: addressOf("events", [], { subject: letter.from.subject }) }, icon("filter"), "Events of this subject"));
    const shown = letter.event ? jsonView(letter.event, { label: "The event" })
      : letter.payload ? [h("p", {}, "It cannot be read as an event. Its bytes, in base64:"), h("pre.json", { tabindex: 0, "aria-label": "Payload in base64" }, letter.payload)]
      : h("p", {}, letter.by_reference ? "It was too large to be copied: only its place in the stream is kept." : "There is nothing to show of it.");
    return h("section.card.event-card", { "aria-label": "The event" }, h("h3", {}, "The event"), h("p.subject", {}, h("code", {}, letter.from.subject)), shown, links);
  }

  async #redrive() {
    const { client, toast, addressOf, navigate } = this.#context;
    let job = await redriveDialog(this.#context, { what: `Dead letter ${this.#id}`, order: { id: Number(this.#id) }, session: this.#session });
    if (!job) return;
    try {
      while (job.state === "running" && !this.#closed) {
        await new Promise((resolve) => setTimeout(resolve, ASKING));
        job = await client.get(`/deadletters/jobs/${job.id}`);
      }
      if (job.state === "running") return;
      toast(job.error ? sentence(job.error) : outcome(job), job.sent ? "ok" : "bad");
      if (this.#closed) return;
      if (job.sent || job.failed) navigate(addressOf("deadletters"));
      else this.#read();
    } catch (fault) {
      toast(`What became of it is not known: ${fault.message}.`, "bad");
    }
  }

  async #delete() {
    const { client, toast, addressOf, navigate } = this.#context;
    if (!(await confirm(`Delete dead letter ${this.#id}?`, { text: "It cannot be sent again after that.", action: "Delete", danger: true }))) return;
    try {
      await remove(client, `/deadletters/${encodeURIComponent(this.#id)}`);
      toast(`Dead letter ${this.#id} is deleted.`);
      navigate(addressOf("deadletters"));
    } catch (fault) {
      toast(`It could not be deleted: ${fault.message}.`, "bad");
    }
  }
}
