/** The page of one alert: why it fired, what is known of it, its history, and what can be done. */

import { h, icon, say, show } from "../../dom.js";
import { passing, retrying } from "../../parts/again.js";
import { coloured } from "../../parts/json.js";
import { faulty, loading } from "../../parts/states.js";
import { time } from "../../parts/time.js";
import { heading } from "../../parts/toolbar.js";
import { badge, rebadge } from "../../views/panel.js";
import { alertActions, outward, target } from "./actions.js";
import { SEVERITIES, asKnown, valueText } from "./list.js";

const RUNBOOK = /runbook|playbook|what to do/i;
const STEPS = {
  fired: ["alert", "bad", "Fired"],
  acknowledged: ["hand", "info", "Acknowledged"],
  snoozed: ["clock", "info", "Snoozed"],
  woke: ["restart", "warn", "Snooze ended, fires again"],
  dismissed: ["cross", "quiet", "Dismissed"],
  resolved: ["check", "ok", "Resolved"],
};
const REASONS = {
  person: "by hand",
  resolve_when: "an event ended it",
  resolve_after: "no event matched for so long",
};
const COMMENT = 500;

const fact = (name, ...value) => (value.some((each) => each !== null && each !== undefined && each !== "" && each !== false) ? [h("div.fact", {}, h("dt", {}, name), h("dd", {}, ...value))] : []);
const steps = (history) => [...(history ?? [])].reverse().map(({ what, at, by, comment, until, reason }) => {
  const [picture, tone, word] = STEPS[what] ?? ["info", "quiet", what];
  return h(`li.${tone}`, {}, h("span.mark", {}, icon(picture)), h("div", {},
    h("p", {}, h("strong", {}, word), by && ` by ${by}`, until && [" until ", time(until, "date")], reason && ` · ${REASONS[reason] ?? reason}`),
    comment && h("p.said", {}, `“${comment}”`)), time(at));
});

/** What the rule says of when it fires; a sentence or two, and the rule itself. */
function ruleText(rule) {
  const condition = ["threshold", "rate", "absence", "change", "window", "hysteresis", "for"].filter((name) => rule[name] && !(name === "threshold" && rule.threshold.count === 1)).map((name) => `${name}: ${typeof rule[name] === "object" ? JSON.stringify(rule[name]) : rule[name]}`);
  return [
    h("dl.fact-list", {}, ...fact("When", rule.when && h("code", {}, String(rule.when))), ...fact("And", condition.length > 0 && h("code", {}, condition.join("; ")))),
    h("details.raw", {}, h("summary", {}, "The whole rule"), h("pre.json", { tabindex: 0, "aria-label": "The rule" }, ...coloured(JSON.stringify(rule, null, 2)))),
  ];
}

export function one(context, { path: [id] }) {
  const { client, store, addressOf } = context;
  const head = heading("alert", "Alert", { back: { href: addressOf("alerts"), label: "Alerts" } });
  const severity = badge("");
  const state = badge("");
  head.badges.append(severity, state);
  show(severity, false);
  show(state, false);
  const outside = h("div", {}, loading("the alert"));
  const comment = h("input", { type: "text", maxlength: COMMENT, placeholder: "A comment, kept in its history", "aria-label": "Comment" });
  const parts = { message: h("p.message"), actions: h("div.doing"), why: h("dl.fact-list"), rule: h("div.of-rule"), runbook: h("div.inside"), labels: h("dl.fact-list"), history: h("ol.steps") };
  const card = (title, ...content) => h("section.card", { "aria-label": title }, h("h3", {}, title), ...content);
  const labels = card("Labels", parts.labels);
  const whole = h("div.alert-page", { hidden: true },
    h("section.card.wide.do", { "aria-label": "What to do" }, parts.message, comment, parts.actions),
    h("div.column", {}, card("Why it fired", parts.why, parts.rule), labels),
    h("div.column", {}, card("Runbook", parts.runbook), card("History", parts.history)));
  let alert = null;
  let ruleRead = null;
  const rereading = retrying(() => read());
  const rereadingRule = retrying(() => drawRule(alert.rule));

  const buttons = alertActions(context, {
    comment: () => comment.value,
    done: (changed) => {
      comment.value = "";
      store.load("alerts", [changed]);
      draw(changed);
    },
    redraw: () => draw(alert),
  });

  const drawRule = async (name) => {
    if (ruleRead === name) return;
    ruleRead = name;
    try {
      const found = await client.get(`/rules/${encodeURIComponent(name)}`);
      rereadingRule.done();
      parts.rule.replaceChildren(...(found.rule ? ruleText(found.rule) : [h("p.faint", {}, found.reason ?? "The rule is not in force now.")]));
    } catch (fault) {
      const why = fault.status === 403 ? "What the rule says is for operators: this needs the right to operate." : fault.status === 404 ? "There is no such rule any more, or it is another system's." : "What the rule says could not be read.";
      if (passing(fault)) ruleRead = null;
      rereadingRule.after(fault);
      parts.rule.replaceChildren(h("p.faint", {}, why));
    }
  };

  const draw = (found) => {
    alert = found;
    const known = asKnown(found);
    const [tone] = SEVERITIES[found.severity] ?? SEVERITIES.info;
    say(head.title, String(found.title ?? found.rule));
    rebadge(severity, found.severity, tone);
    rebadge(state, found.state, found.state === "resolved" ? "ok" : found.state === "firing" ? tone : "quiet");
    say(parts.message, String(found.message ?? ""));
    show(parts.message, Boolean(found.message));
    const held = document.activeElement?.dataset?.action;
    const book = (found.actions ?? []).find((each) => RUNBOOK.test(String(each?.label)) && target(each?.url)) ?? (target(found.labels?.runbook_url) && { label: "Open the runbook", url: found.labels.runbook_url });
    // The runbook has a card of its own.
    const doing = buttons({ ...known, actions: (known.actions ?? []).filter((each) => each?.label !== book?.label || each?.url !== book?.url) });
    parts.actions.replaceChildren(doing ?? h("p.faint", {}, "It is resolved: nothing is left to do. It fires anew as soon as its rule matches again."));
    if (held) parts.actions.querySelector(`[data-action="${held}"]`)?.focus();
    show(comment, Boolean(doing));
    const value = valueText(found.value);
    parts.why.replaceChildren(
      ...fact("Rule", h("a", { href: addressOf("alerts", ["rules", found.rule]) }, found.rule)),
      ...fact("About", found.entity),
      ...fact("Value", value),
      ...fact("Matches", found.count > 1 && String(found.count)),
      ...fact("Since", time(found.since)),
      ...fact("Snoozed until", found.snoozed_until && time(found.snoozed_until, "date")),
      ...fact("Ended", found.ended && time(found.ended), found.ended && found.reason && `, ${REASONS[found.reason] ?? found.reason}`),
      ...fact("Because of", found.cause_id && h("a", { href: addressOf("events", [], { id: found.cause_id }) }, found.cause_subject || found.cause_id), found.cause_id && [" ", time(found.cause_time)]),
      ...fact("Category", found.category),
      ...fact("Key", found.key !== found.entity && found.key),
      ...fact("Told to", found.audience?.length ? found.audience.join(", ") : "all who may read it"));
    parts.runbook.replaceChildren(book
      ? outward(book.url, String(book.label))
      : h("p.faint", {}, "Its rule names none. Give the rule an action with a label such as “Runbook” and a url, and it stands here."));
    parts.labels.replaceChildren(...Object.entries(found.labels ?? {}).flatMap(([name, text]) => fact(name, String(text))));
    show(labels, Object.keys(found.labels ?? {}).length > 0);
    parts.history.replaceChildren(...steps(found.history));
    context.retitle(`${found.title ?? found.rule} · Alerts`);
    show(whole, true);
    show(severity, true);
    show(state, true);
    outside.replaceChildren();
    drawRule(found.rule);
  };

  let reading = false;
  const read = async () => {
    if (reading) return;
    reading = true;
    try {
      draw(await client.get(`/alerts/${encodeURIComponent(id)}`));
      rereading.done();
    } catch (fault) {
      rereading.after(fault);
      if (!alert || !passing(fault)) {
        show(whole, false);
        outside.replaceChildren(faulty(fault, fault.status === 404 ? "such alert" : "the alert", { right: "read its events, alert.>", again: read }));
      }
    }
    reading = false;
  };
  const live = () => {
    const known = [...store.alerts.values()].find((each) => each.alert === id);
    // The stream knows better; the history comes with the whole of it.
    if (known && (!alert || known.state !== alert.state || known.time > asKnown(alert).time)) read();
  };
  const ends = [store.watch("alerts", live), client.onState(({ phase }) => phase === "live" && read())];
  read();
  return {
    element: h("section.page.alert-place", { id: "alerts" }, head.element, outside, whole),
    title: "Alert",
    close: () => {
      rereading.stop();
      rereadingRule.stop();
      ends.forEach((end) => end?.());
    },
  };
}
