/** Tries rules before they are in force: on events that somebody writes, and on a stretch of what is stored. */

import { h, icon, meter, say, show } from "../../dom.js";
import { duration, number } from "../../format.js";
import { kindOf, sentence } from "../../parts/states.js";
import { table } from "../../parts/table.js";
import { time } from "../../parts/time.js";
import { badge } from "../../views/panel.js";
import { remove } from "./api.js";
import { SEVERITIES, valueText } from "./list.js";

const STRETCHES = [["1h", "the last hour"], ["6h", "the last 6 hours"], ["24h", "the last day"], ["7d", "the last week"], ["30d", "the last 30 days"]];
const SECONDS = { h: 3_600, d: 86_400 };
// Between two looks at a back-test (ms).
const EVERY = 700;
const EXAMPLE = [{ subject: "metric.lab-1.temperature", data: { celsius: 91 } }];
// Rows of a result; the figures above them count all.
const SHOWN = 200;

const COLUMNS = [
  { name: "at", title: "When", cell: ({ at }) => time(at, "date"), sort: ({ at }) => at },
  { name: "title", title: "Alert", cell: ({ title }) => title, sort: ({ title }) => title },
  { name: "severity", title: "Severity", cell: ({ severity }) => badge(severity, (SEVERITIES[severity] ?? SEVERITIES.info)[0]), sort: ({ severity }) => severity },
  { name: "rule", title: "Rule", cell: ({ rule }) => rule, sort: ({ rule }) => rule, narrow: true },
  { name: "value", title: "Value", cell: ({ value }) => valueText(value) || "–", end: true, narrow: true },
  { name: "lasted", title: "Lasted", cell: ({ at, resolved }) => (resolved ? duration((Date.parse(resolved) - Date.parse(at)) / 1000) : "goes on"), end: true },
];

const outcome = (tone, title, text) => h(`div.outcome.${tone}`, { role: "status" }, icon(tone === "ok" ? "check" : "alert"), h("div", {}, h("strong", {}, title), text && h("p", {}, text)));

function refusal(fault) {
  if (kindOf(fault) === "denied") return outcome("bad", "Your token may not try rules", "This needs the right to operate.");
  if (kindOf(fault) === "offline") return outcome("bad", "The server cannot be reached", "");
  const titles = { bad_rule: "The rule has a mistake", too_many_backtests: "Others are running", backtest_gone: "The back-test is gone", alerts_unavailable: "No alerts actor answers" };
  return outcome("bad", titles[fault.code] ?? "It was refused", sentence(fault.message));
}

/** What would have fired, as figures and a table. */
function report({ events, alerts, late, faults, by_rule: byRule, fired }) {
  const rows = table({ label: "What would have fired", columns: COLUMNS, key: ({ alert }) => alert });
  rows.set(fired.slice(0, SHOWN));
  const silent = Object.entries(byRule).filter(([, count]) => !count).map(([name]) => name);
  return [
    h("div.tiles", {},
      ...[["Events read", events], ["Alerts", alerts], ["Events too late", late], ["Faults of rules", faults]].map(([name, value]) => h("div.tile", {}, h("span.name", {}, name), h("span.value", {}, number(value))))),
    rows.element,
    fired.length > SHOWN ? h("p.faint", {}, `The first ${SHOWN} of ${number(alerts)} are shown.`) : null,
    silent.length > 0 && silent.length < 20 && Object.keys(byRule).length > 1 ? h("p.faint", {}, `No alert of ${silent.join(", ")}.`) : null,
  ].filter(Boolean);
}

/** `text()` gives the rules that are tried, or null for those in force. */
export function testCard({ client }, text) {
  const area = h("textarea", { rows: 5, spellcheck: "false", "aria-label": "Events, as a JSON list", "aria-describedby": "test-hint" });
  area.value = JSON.stringify(EXAMPLE, null, 1);
  const result = h("div.answer", { "aria-live": "polite" });
  const run = async (submit) => {
    submit.preventDefault();
    let events;
    try {
      events = JSON.parse(area.value);
      if (!Array.isArray(events)) events = [events];
    } catch (fault) {
      result.replaceChildren(outcome("bad", "The events are not JSON", sentence(fault.message)));
      return;
    }
    try {
      const rules = text();
      const found = await client.post("/rules/test", { events, ...(rules === null ? {} : { rules }) });
      result.replaceChildren(outcome(found.alerts ? "warn" : "ok", found.alerts ? `${number(found.alerts)} would fire` : "Nothing would fire", ""), ...(found.alerts ? report(found) : []));
    } catch (fault) {
      result.replaceChildren(refusal(fault));
    }
  };
  return h("section.card", { "aria-label": "Try it on events" }, h("h3", {}, "Try it on events"), h("form.inside", { onsubmit: run },
    h("p.faint", { id: "test-hint" }, "Each has subject and data, and if need be type, id and time. Nothing is stored, nobody is told."),
    area, h("div.row-of-buttons", {}, h("button.quiet", { type: "submit" }, icon("play"), h("span", {}, "Try"))), result));
}

/** The same on stored events: a job of the alerts actor, with its progress. Returns `{ element, close }`. */
export function backtestCard(context, text, { title = "Back-test" } = {}) {
  const { client } = context;
  const since = h("select", { "aria-label": "Since" }, ...STRETCHES.map(([value, label]) => h("option", { value, selected: value === "24h" }, label)));
  const start = h("button.quiet", { type: "submit" }, icon("clock"), h("span", {}, "Back-test"));
  const stop = h("button.quiet", { type: "button", hidden: true, onclick: cancel }, icon("stop"), h("span", {}, "Stop"));
  const bar = meter("Back-test");
  const line = h("p.faint", { role: "status" });
  const progress = h("div.running", { hidden: true }, bar.element, line);
  const result = h("div.answer");
  let job = null;
  let timer = null;
  let from = 0;
  let until = 0;

  const told = ({ state, events, alerts, last }) => {
    // Events are read in the order of their times, nearly: how far the last one lies is how far it has come.
    bar.set(last ? (Date.parse(last) - from) / (until - from) : null);
    say(line, `${state === "running" ? "Reads" : "Has read"} ${number(events)} events, ${number(alerts)} alerts so far`);
  };
  const finish = (...content) => {
    job = null;
    show(progress, false);
    show(stop, false);
    start.disabled = false;
    result.replaceChildren(...content);
  };
  const over = (found) => {
    const words = { done: ["ok", found.alerts ? `${number(found.alerts)} would have fired` : "Nothing would have fired", ""], failed: ["bad", "The back-test failed", sentence(found.error)], cancelled: ["warn", "Stopped before its end", "What it had found until then:"] };
    finish(outcome(...words[found.state]), ...report(found));
  };
  const look = async () => {
    const mine = job;
    try {
      const found = await client.get(`/rules/backtests/${encodeURIComponent(mine)}`);
      if (mine !== job) return;
      if (found.state !== "running") return over(found);
      told(found);
    } catch (fault) {
      if (mine !== job) return;
      // A server that is away for a moment does not end the job.
      if (fault.status) return finish(refusal(fault));
      say(line, "The server cannot be reached; it is asked again.");
    }
    timer = setTimeout(look, EVERY);
  };
  async function begin(submit) {
    submit.preventDefault();
    if (job) return;
    start.disabled = true;
    const stretch = since.value;
    until = context.now();
    from = until - Number.parseInt(stretch, 10) * SECONDS[stretch.at(-1)] * 1000;
    result.replaceChildren();
    try {
      const rules = text();
      const made = await client.post("/rules/backtests", { since: stretch, ...(rules === null ? {} : { rules }) });
      job = made.id;
      show(progress, true);
      show(stop, true);
      told(made);
      look();
    } catch (fault) {
      finish(refusal(fault));
    }
  }
  async function cancel() {
    const mine = job;
    clearTimeout(timer);
    try {
      over(await remove(context, `/rules/backtests/${encodeURIComponent(mine)}`));
    } catch (fault) {
      finish(refusal(fault));
    }
  }
  const element = h("section.card.backtest", { "aria-label": title }, h("h3", {}, title), h("form.inside", { onsubmit: begin },
    h("p.faint", {}, "Says what would have fired of the stored events, by their own times. Nobody is told."),
    h("div.row-of-buttons", {}, since, start, stop), progress, result));
  return { element, close: () => clearTimeout(timer) };
}
