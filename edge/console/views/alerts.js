/** Lists alerts: those that fire first, resolved ones below in grey. */

import { h, icon, say, show } from "../dom.js";
import { ago, clock } from "../format.js";
import { absence } from "./absence.js";
import { badge, panel, rebadge } from "./panel.js";

const SEVERITIES = { critical: ["bad", "alert"], warning: ["warn", "alert"], info: ["info", "info"] };
const ORDER = ["critical", "warning", "info"];

// What can be done to an alert in a state; a snooze of an hour is long enough for most of what is known.
const ACTIONS = {
  acknowledge: { label: "Acknowledge", states: ["firing", "snoozed"], body: {} },
  snooze: { label: "Snooze 1 h", states: ["firing", "acknowledged"], body: { for: 3600 } },
  dismiss: { label: "Dismiss", states: ["firing", "acknowledged", "snoozed"], body: {} },
  resolve: { label: "Resolve", states: ["firing", "acknowledged", "snoozed", "dismissed"], body: {} },
};

/** Where a URL of a rule leads; null for what is neither of this host nor plain http, such as a script. */
function target(url) {
  return /^(https?:\/\/[^/\\]+\/|\/(?![/\\]))/.test(url) ? url : null;
}

/** `fan.lab-1.faster`: actor, instance, which may have dots in it, and command; null for anything else. */
function addressed(text) {
  const parts = text.split(".");
  return parts.length >= 3 && parts.every(Boolean) ? [parts[0], parts.slice(1, -1).join("."), parts.at(-1)] : null;
}

/** What the alert's rule offers: links, and commands to actors. */
function offers(alert, give) {
  if (!Array.isArray(alert.actions)) return [];
  return alert.actions.map((each, place) => {
    const label = h("span", {}, String(each?.label ?? ""));
    if (typeof each?.url === "string" && target(each.url)) return h("a.quiet", { href: each.url, target: "_blank", rel: "noopener noreferrer" }, label);
    if (typeof each?.command !== "string" || !addressed(each.command)) return null;
    return h("button.quiet", { type: "button", title: each.command, dataset: { action: `own-${place}`, alert: alert.alert }, onclick: () => give(alert, each) }, label);
  });
}

function buttons(alert, act, give, answer) {
  if (!alert.alert) return null;
  const offered = Object.entries(ACTIONS).filter(([, { states }]) => states.includes(alert.state));
  if (!offered.length) return null;
  return h("div.actions", {},
    ...offers(alert, give),
    ...offered.map(([what, { label }]) =>
      h("button.quiet", { type: "button", dataset: { action: what, alert: alert.alert }, onclick: () => act(alert, what) }, h("span", {}, label))),
    answer && h(answer.refused ? "span.refused" : "span.answer", { role: "status" }, answer.text));
}

function row(alert, act, give, answer) {
  const [tone, picture] = SEVERITIES[alert.severity] ?? SEVERITIES.info;
  const silent = alert.resolved || alert.state === "snoozed" || alert.state === "dismissed";
  const shape = alert.resolved ? "check" : picture;
  const value = alert.value === undefined || alert.value === null ? "" : typeof alert.value === "number" ? String(Math.round(alert.value * 1e3) / 1e3) : JSON.stringify(alert.value);
  const state = alert.state === "firing" || alert.resolved ? "" : alert.state;
  return h(`li.alert.${silent ? "quiet" : tone}`, { dataset: { rule: alert.rule, state: alert.state } },
    icon(shape),
    h("div.what", {},
      h("p.title", {}, h("span.visually-hidden", {}, `${alert.resolved ? "resolved" : alert.severity}: `), String(alert.title ?? alert.rule)),
      alert.message && h("p.message", {}, String(alert.message)),
      h("p.about", {}, [state, alert.entity, alert.category, value && `value ${value}`, alert.rule].filter(Boolean).join(" · "))),
    h("time", { dataset: { moment: alert.time }, title: clock(alert.time) }),
    buttons(alert, act, give, answer));
}

export function alertsView(root, store, client) {
  const { badges, body } = panel(root, "alert", "Alerts");
  const count = badge("");
  badges.append(count);
  const list = h("ol.list", { "aria-live": "polite", "aria-relevant": "additions" });
  const empty = absence("check", { title: "All quiet", explanation: "Rules watch every event and raise alerts here. Any failed run raises one: try it.", command: "callboard run -- false" });
  badges.append(empty.badge);
  body.append(list, ...empty.elements);

  // What became of the last thing that somebody did, by the alert's id, where the alert does not show it.
  const answers = new Map();
  const tell = (alert, text, refused) => {
    answers.clear();
    answers.set(alert.alert, { text, refused });
  };

  const act = async (alert, what) => {
    answers.delete(alert.alert);
    try {
      store.load("alerts", [await client.post(`/alerts/${encodeURIComponent(alert.alert)}/${what}`, ACTIONS[what].body)]);
    } catch (fault) {
      tell(alert, `Not done: ${fault.message}`, true);
    }
    draw();
  };

  const give = async (alert, { label, command }) => {
    try {
      await client.command(...addressed(command), {});
      tell(alert, `Done: ${label}`, false);
    } catch (fault) {
      tell(alert, `Not done: ${fault.message}`, true);
    }
    draw();
  };

  const age = () => {
    for (const time of list.querySelectorAll("time")) say(time, ago(Number(time.dataset.moment), Date.now()));
  };
  const draw = () => {
    const alerts = [...store.alerts.values()].sort((a, b) =>
      a.resolved - b.resolved
      || (a.resolved ? 0 : ORDER.indexOf(a.severity) - ORDER.indexOf(b.severity))
      || b.time - a.time);
    // The buttons are made anew, and a person may be on one of them.
    const { action, alert: held } = document.activeElement?.dataset ?? {};
    list.replaceChildren(...alerts.map((alert) => row(alert, act, give, answers.get(alert.alert))));
    if (action) list.querySelector(`button[data-action="${action}"][data-alert="${CSS.escape(held ?? "")}"]`)?.focus();
    age();
    const active = alerts.filter((alert) => !alert.resolved);
    const firing = active.filter((alert) => alert.state === "firing");
    const worst = firing[0] && (SEVERITIES[firing[0].severity] ?? SEVERITIES.info)[0];
    const situation = store.situation("alerts");
    // "All clear" is said only by a page that sees all.
    rebadge(count, firing.length ? `${firing.length} firing` : active.length ? `${active.length} known` : "all clear", worst ?? "ok");
    show(count, active.length > 0 || !situation);
    empty.tell(situation, alerts.length === 0);
    show(list, alerts.length > 0);
  };
  store.watch("alerts", draw);
  setInterval(age, 5_000);
}
