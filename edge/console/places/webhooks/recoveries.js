/** Sends again: all that failed since a time, or a stretch of the past; and shows how far each of these has come. */

import { h, icon, meter, say, show } from "../../dom.js";
import { duration, number, percent } from "../../format.js";
import { dialog } from "../../parts/dialog.js";
import { spanOf } from "../../parts/span.js";
import { sentence } from "../../parts/states.js";
import { time } from "../../parts/time.js";
import { badge } from "../../views/panel.js";
import { field } from "../sessions/fields.js";

const STATES = { running: ["Running", "info"], done: ["Done", "ok"], failed: ["Failed", "bad"], cancelled: ["Cancelled", "quiet"] };
const KINDS = { recover: "What failed is sent again", replay: "A stretch is sent again" };
const DAY = 86_400_000;
// Somebody who chooses a time has finished (ms).
const COUNTING = 300;
const STRETCHES = [["day", "The last 24 hours"], ["yesterday", "Yesterday"], ["today", "Today, so far"], ["hour", "The last hour"], ["", "A time of your own"]];

/** A moment as `datetime-local` wants it: in the viewer's zone, without one. */
const local = (at) => (at === null ? "" : new Date(at - new Date(at).getTimezoneOffset() * 60_000).toISOString().slice(0, 16));
const instant = (text) => new Date(text).toISOString();

/** Says how many events would be sent: `asked()` gives the stretch and the rate. Returns `{ element, tell() }`. */
function amountOf(count, asked) {
  const element = h("p.faint", { role: "status", dataset: { field: "amount" } });
  let turn = 0;
  let timer = null;
  const read = async (mine) => {
    let text = "";
    try {
      const { rate, ...span } = asked();
      const { events, more } = await count(span);
      const lasting = rate && events > rate ? `, in ${more ? "more than" : "about"} ${duration(events / rate)}` : "";
      text = !events ? "No event of that time is kept for this endpoint." : `${more ? "More than " : ""}${number(events)} ${events === 1 ? "event" : "events"} will be sent${lasting}.`;
    } catch {
      // No time is given yet, or it cannot be known now: nothing is said rather than something wrong.
    }
    if (mine === turn) say(element, text);
  };
  const tell = () => {
    turn += 1;
    clearTimeout(timer);
    say(element, "Counting the events …");
    timer = setTimeout(read, COUNTING, turn);
  };
  return { element, tell };
}

/**
 * Returns `{ element, read(), replay() }`; `replay` asks for a stretch of the past. `count({ since, until })` says how many events a stretch
 * has, as `{ events, more }`; null where this page may not know.
 */
export function recoveriesView({ api, toast, now, count = null }) {
  const list = h("div");
  const none = h("p.faint", {}, "Nothing was sent again in the last week.");
  const known = new Map();

  const order = (title, text, action, fields, send) => {
    const fault = h("p.form-fault", { role: "alert", hidden: true });
    const go = h("button.primary", { type: "submit" }, action);
    const form = h("form", { onsubmit: async (submit) => {
      submit.preventDefault();
      go.disabled = true;
      show(fault, false);
      try {
        await send();
        shown.close();
        toast("It has begun; its progress is shown here.");
        await read();
      } catch (problem) {
        say(fault, problem.status ? sentence(problem.message) : problem instanceof RangeError ? "Give a date and a time." : "The server cannot be reached; nothing was begun.");
        show(fault, true);
      } finally {
        go.disabled = false;
      }
    } }, h("p", {}, text), ...fields.map(({ element }) => element), fault, h("div.row-of-buttons.end", {}, go));
    const shown = dialog(title, [form]);
  };
  const rate = () => field({ name: "rate", label: "Deliveries per second, at most", kind: "number", min: 0.1, value: 20, hint: "So that a receiver that has just come back is not flooded." });
  const recover = () => {
    const since = field({ name: "since", label: "Since", kind: "datetime-local", value: local(now() - DAY) });
    const limit = rate();
    order("Recover what failed", "All deliveries that were given up since then are sent again, once each.", "Recover", [since, limit],
      () => api.recover({ since: instant(since.value), ...(limit.value && { rate: limit.value }) }));
  };
  const replay = () => {
    const which = field({ name: "which", label: "Which", kind: "select", options: STRETCHES, value: "day" });
    const since = field({ name: "since", label: "From", kind: "datetime-local", value: local(now() - DAY) });
    const until = field({ name: "until", label: "To", kind: "datetime-local", hint: "Left out: now." });
    const limit = rate();
    which.input.addEventListener("change", () => {
      const span = spanOf(which.value ?? "", now());
      if (span.since !== null) for (const each of [since, until]) each.set(local(span[each.name]));
    });
    for (const each of [since, until]) each.input.addEventListener("input", () => which.set(""));
    const amount = count ? amountOf(count, () => ({ since: instant(since.value), until: until.value && instant(until.value), rate: limit.value })) : null;
    for (const each of [which, since, until, limit]) each.input.addEventListener("input", () => amount?.tell());
    amount?.tell();
    order("Replay a stretch", "Every event of that time that this endpoint reads is sent, whether it was sent before or not.", "Replay", [which, since, until, limit, ...(amount ? [amount] : [])],
      () => api.replay({ since: instant(since.value), ...(until.value && { until: instant(until.value) }), ...(limit.value && { rate: limit.value }) }));
  };
  const row = (job) => {
    const state = h("span");
    const said = h("span.faint");
    const bar = meter("Progress");
    const cancel = h("button.quiet", { type: "button", onclick: async () => {
      try {
        await api.cancel(job.id);
        await read();
      } catch (fault) {
        toast(sentence(fault.message), "bad");
      }
    } }, "Cancel");
    const element = h("div.recovery", { dataset: { id: job.id } }, h("span", {}, state, " ", KINDS[job.kind], " ", said), cancel, bar.element);
    return {
      element,
      set(next) {
        element.dataset.state = next.state;
        state.replaceChildren(badge(...(STATES[next.state] ?? [next.state, "quiet"])));
        const skipped = next.skipped ? `, ${number(next.skipped)} no longer kept` : "";
        said.replaceChildren(`${number(next.sent)}${next.total ? ` of ${number(next.total)}` : ""} sent${skipped}${next.state === "running" && next.progress !== null ? `, ${percent(next.progress)} of it done` : ""}`, next.error ? `: ${next.error}` : "", " · ", time(next.created));
        show(cancel, next.state === "running");
        show(bar.element, next.state === "running");
        bar.set(next.progress);
      },
    };
  };
  const read = async () => {
    const { recoveries } = await api.recoveries();
    show(none, !recoveries.length);
    list.replaceChildren(...recoveries.slice(0, 20).map((job) => {
      if (!known.has(job.id)) known.set(job.id, row(job));
      known.get(job.id).set(job);
      return known.get(job.id).element;
    }));
  };
  const element = h("section.card", {}, h("h3", {}, "Send again"), h("div.inner", {},
    h("div.row-of-buttons", {},
      h("button.quiet", { type: "button", onclick: recover }, icon("restart"), h("span", {}, "Recover since …")),
      h("button.quiet", { type: "button", onclick: replay }, icon("undo"), h("span", {}, "Replay a stretch …"))),
    none, list));
  return { element, read, replay };
}
