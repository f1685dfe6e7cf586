/** Lists alerts: those that fire first, resolved ones below in grey. */

import { h, icon, say, show } from "../dom.js";
import { ago, clock } from "../format.js";
import { absence } from "./absence.js";
import { badge, panel, rebadge } from "./panel.js";

const SEVERITIES = { critical: ["bad", "alert"], warning: ["warn", "alert"], info: ["info", "info"] };
const ORDER = ["critical", "warning", "info"];

function row(alert) {
  const [tone, picture] = SEVERITIES[alert.severity] ?? SEVERITIES.info;
  const shape = alert.resolved ? "check" : picture;
  const value = alert.value === undefined || alert.value === null ? "" : typeof alert.value === "number" ? String(Math.round(alert.value * 1e3) / 1e3) : JSON.stringify(alert.value);
  return h(`li.alert.${alert.resolved ? "quiet" : tone}`, { dataset: { rule: alert.rule } },
    icon(shape),
    h("div.what", {},
      h("p.title", {}, h("span.visually-hidden", {}, `${alert.resolved ? "resolved" : alert.severity}: `), String(alert.title ?? alert.rule)),
      alert.message && h("p.message", {}, String(alert.message)),
      h("p.about", {}, [alert.entity, alert.category, value && `value ${value}`, alert.rule].filter(Boolean).join(" · "))),
    h("time", { dataset: { moment: alert.time }, title: clock(alert.time) }));
}

export function alertsView(root, store) {
  const { badges, body } = panel(root, "alert", "Alerts");
  const count = badge("");
  badges.append(count);
  const list = h("ol.list", { "aria-live": "polite", "aria-relevant": "additions" });
  const empty = absence("check", { title: "All quiet", explanation: "Rules watch every event and raise alerts here. Any failed run raises one: try it.", command: "callboard run -- false" });
  badges.append(empty.badge);
  body.append(list, ...empty.elements);

  const age = () => {
    for (const time of list.querySelectorAll("time")) say(time, ago(Number(time.dataset.moment), Date.now()));
  };
  const draw = () => {
    const alerts = [...store.alerts.values()].sort((a, b) =>
      a.resolved - b.resolved
      || (a.resolved ? 0 : ORDER.indexOf(a.severity) - ORDER.indexOf(b.severity))
      || b.time - a.time);
    list.replaceChildren(...alerts.map(row));
    age();
    const firing = alerts.filter((alert) => !alert.resolved);
    const worst = firing[0] && (SEVERITIES[firing[0].severity] ?? SEVERITIES.info)[0];
    const situation = store.situation("alerts");
    // "All clear" is said only by a page that sees all.
    rebadge(count, firing.length ? `${firing.length} firing` : "all clear", worst ?? "ok");
    show(count, firing.length > 0 || !situation);
    empty.tell(situation, alerts.length === 0);
    show(list, alerts.length > 0);
  };
  store.watch("alerts", draw);
  setInterval(age, 5_000);
}
