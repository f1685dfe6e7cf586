/** Lists alerts: those that fire first, silent and resolved ones below in grey; live, and further back than the page remembers. */

import { h, icon, show } from "../../dom.js";
import { moment } from "../../format.js";
import { retrying } from "../../parts/again.js";
import { arrange, unpressed } from "../../parts/arrange.js";
import { filterBar } from "../../parts/filters.js";
import { nothing } from "../../parts/states.js";
import { time } from "../../parts/time.js";
import { heading } from "../../parts/toolbar.js";
import { absence } from "../../views/absence.js";
import { badge, rebadge } from "../../views/panel.js";
import { alertActions } from "./actions.js";
import { tabs } from "./tabs.js";

export const SEVERITIES = { critical: ["bad", "alert"], warning: ["warn", "alert"], info: ["info", "info"] };
const ORDER = ["critical", "warning", "info"];
const PAGE = 100;
const STATES = [["", "Every state"], ["active", "Not resolved"], ["firing", "Firing"], ["acknowledged", "Acknowledged"], ["snoozed", "Snoozed"], ["dismissed", "Dismissed"], ["resolved", "Resolved"]];
const FIELDS = [
  { name: "q", label: "Find an alert", kind: "search", wide: true },
  { name: "state", label: "State", kind: "select", options: STATES },
  { name: "severity", label: "Severity", kind: "select", options: [["", "Every severity"], ["critical", "Critical"], ["warning", "Warning"], ["info", "Info"]] },
  { name: "rule", label: "Rule", kind: "text" },
];

/** An alert of a list of the server's, as the store has them. */
export function asKnown({ id, ...alert }) {
  return { ...alert, alert: id, resolved: alert.state === "resolved", time: moment(alert.timestamp) };
}

export const valueText = (value) => (value === undefined || value === null ? "" : typeof value === "number" ? String(Math.round(value * 1e3) / 1e3) : typeof value === "string" ? value : JSON.stringify(value));

function row(alert, buttons, addressOf) {
  const [tone, picture] = SEVERITIES[alert.severity] ?? SEVERITIES.info;
  const silent = alert.resolved || alert.state === "snoozed" || alert.state === "dismissed";
  const state = alert.state === "firing" || alert.resolved ? "" : alert.state;
  const value = valueText(alert.value);
  const title = String(alert.title ?? alert.rule);
  return h(`li.alert.${silent ? "quiet" : tone}`, { dataset: { rule: alert.rule, state: alert.state } },
    icon(alert.resolved ? "check" : picture),
    h("div.what", {},
      h("p.title", {}, h("span.visually-hidden", {}, `${alert.resolved ? "resolved" : alert.severity}: `), alert.alert ? h("a", { href: addressOf("alerts", [alert.alert]) }, title) : title),
      alert.message && h("p.message", {}, String(alert.message)),
      h("p.about", {}, [state, alert.entity, alert.category, value && `value ${value}`, alert.rule].filter(Boolean).join(" · "),
        alert.state === "snoozed" && alert.snoozed_until ? [" · until ", time(alert.snoozed_until, "date")] : "")),
    time(alert.time),
    buttons(alert));
}

const rank = ({ state, resolved }) => (resolved ? 2 : state === "snoozed" || state === "dismissed" ? 1 : 0);
const ordered = (alerts) => alerts.sort((a, b) =>
  rank(a) - rank(b)
  || (a.resolved ? 0 : ORDER.indexOf(a.severity) - ORDER.indexOf(b.severity))
  || b.time - a.time);

function fits(alert, { q, state, severity, rule }) {
  if (state && (state === "active" ? alert.resolved : alert.state !== state)) return false;
  if ((severity && alert.severity !== severity) || (rule && alert.rule !== rule)) return false;
  const text = q.toLowerCase();
  return !text || [alert.title, alert.message, alert.entity, alert.rule, alert.category, alert.alert, alert.key].some((part) => String(part ?? "").toLowerCase().includes(text));
}

export function list(context, params) {
  const { client, store, addressOf, mark } = context;
  const head = heading("alert", "Alerts");
  const count = badge("");
  const rows = h("ol.list.card", { "aria-live": "polite", "aria-relevant": "additions", "aria-label": "Alerts" });
  const empty = absence("check", { title: "All quiet", explanation: "Rules watch every event and raise alerts here. Any failed run raises one: try it.", command: "callboard run -- false" });
  const unfit = nothing({ icon: "search", title: "No alert fits", text: "Others are there that the filter leaves out." });
  const more = h("button.quiet.more", { type: "button", onclick: () => read(next) }, h("span", {}, "Show older ones"));
  const older = new Map();
  let next = null;
  let turn = 0;
  // From where on older ones are asked for, null for the newest.
  let wanted = null;
  const rereading = retrying(() => read(wanted));

  const filters = filterBar(FIELDS, (values) => {
    mark([], values);
    older.clear();
    read(null);
    draw();
  });
  filters.set(Object.fromEntries(params.query));

  /** Resolved alerts go back a week, further than the page remembers. */
  const read = async (cursor) => {
    const mine = (turn += 1);
    wanted = cursor;
    const { state, severity, rule } = filters.values;
    const asked = Object.entries({ state, severity, rule, cursor, limit: PAGE }).filter(([, value]) => value);
    try {
      const page = await client.get(`/alerts?${new URLSearchParams(asked)}`);
      if (mine !== turn) return;
      for (const each of page.alerts) older.set(`${each.rule} ${each.key ?? each.entity ?? ""}`, asKnown(each));
      next = page.next ?? null;
      rereading.done();
      draw();
    } catch (fault) {
      // The store's own situation says what is the matter.
      if (mine === turn) rereading.after(fault);
    }
  };

  const all = () => {
    const known = new Map(older);
    for (const alert of store.alerts.values()) {
      if (!(known.get(alert.key)?.time > alert.time)) known.set(alert.key, alert);
    }
    return [...known.values()];
  };

  const buttons = alertActions(context, { done: (changed) => store.load("alerts", [changed]), redraw: () => draw() });

  const lines = new Map();
  const nameOf = ({ alert, rule, key }) => alert ?? `${rule} ${key}`;
  /** The row of an alert: made anew only where it has something else to say, so that it keeps its focus and is announced once. */
  const line = (alert) => {
    const says = JSON.stringify([alert, buttons.answer(alert)]);
    const known = lines.get(nameOf(alert));
    if (known?.says === says) return known.element;
    // A person may be on its title or on one of its buttons.
    const held = known?.element.contains(document.activeElement) ? document.activeElement : null;
    const element = row(alert, buttons, addressOf);
    if (known?.element.isConnected) known.element.replaceWith(element);
    if (held) element.querySelector(held.dataset.action ? `button[data-action="${held.dataset.action}"]` : ".title a")?.focus({ preventScroll: true });
    lines.set(nameOf(alert), { says, element });
    return element;
  };

  const draw = unpressed(() => {
    const alerts = all();
    const shown = ordered(alerts.filter((alert) => fits(alert, filters.values)));
    arrange(rows, shown.map(line));
    const drawn = new Set(shown.map(nameOf));
    for (const name of lines.keys()) if (!drawn.has(name)) lines.delete(name);
    const active = alerts.filter((alert) => !alert.resolved);
    const firing = ordered(active.filter((alert) => alert.state === "firing"));
    const worst = firing[0] && (SEVERITIES[firing[0].severity] ?? SEVERITIES.info)[0];
    const situation = store.situation("alerts");
    // "All clear" is said only by a page that sees all.
    rebadge(count, firing.length ? `${firing.length} firing` : active.length ? `${active.length} known` : "all clear", worst ?? "ok");
    show(count, active.length > 0 || !situation);
    empty.tell(situation, alerts.length === 0);
    show(unfit, alerts.length > 0 && !shown.length);
    show(rows, shown.length > 0);
    show(more, Boolean(next));
  });
  head.badges.append(count, empty.badge);
  const ends = [store.watch("alerts", draw), client.onState(({ phase }) => phase === "live" && read(null))];
  read(null);
  return {
    element: h("section.page.alert-place", { id: "alerts" }, head.element, tabs(context, "alerts"), filters.element, rows, unfit, ...empty.elements, h("div.row-of-buttons", {}, more)),
    title: "Alerts",
    close() {
      turn += 1;
      rereading.stop();
      ends.forEach((end) => end?.());
    },
  };
}
