/** Makes the buttons of an alert: what people do to it, and what its rule offers. */

import { h, icon } from "../../dom.js";
import { dialog } from "../../parts/dialog.js";

// What can be done to an alert in a state; a snooze of an hour is long enough for most of what is known.
const ACTIONS = {
  acknowledge: { label: "Acknowledge", states: ["firing", "snoozed"] },
  snooze: { label: "Snooze 1 h", states: ["firing", "acknowledged"], body: { for: 3600 } },
  unsnooze: { label: "End the snooze", states: ["snoozed"] },
  dismiss: { label: "Dismiss", states: ["firing", "acknowledged", "snoozed"] },
  resolve: { label: "Resolve", states: ["firing", "acknowledged", "snoozed", "dismissed"] },
};
const SNOOZES = [["10 minutes", 600], ["1 hour", 3_600], ["8 hours", 28_800], ["1 day", 86_400], ["7 days", 604_800]];

/** Where a URL of a rule leads; null for what is neither of this host nor plain http, such as a script. */
export function target(url) {
  return typeof url === "string" && /^(https?:\/\/[^/\\]+\/|\/(?![/\\]))/.test(url) ? url : null;
}

/** `fan.lab-1.faster`: actor, instance, which may have dots in it, and command; null for anything else. */
export function addressed(text) {
  const parts = String(text).split(".");
  return parts.length >= 3 && parts.every(Boolean) ? [parts[0], parts.slice(1, -1).join("."), parts.at(-1)] : null;
}

export const outward = (href, label) => h("a.quiet", { href, target: "_blank", rel: "noopener noreferrer" }, h("span", {}, label));

/** What the alert's rule offers: links, and commands to actors. */
function offers(alert, give) {
  if (!Array.isArray(alert.actions)) return [];
  return alert.actions.map((each, place) => {
    const label = String(each?.label ?? "");
    if (target(each?.url)) return outward(each.url, label);
    if (typeof each?.command !== "string" || !addressed(each.command)) return null;
    return h("button.quiet", { type: "button", title: each.command, dataset: { action: `own-${place}`, alert: alert.alert }, onclick: () => give(alert, each) }, h("span", {}, label));
  });
}

/** Asks until when an alert shall be silent; gives the body of the request, or null. */
async function askSnooze(now) {
  const two = (part) => String(part).padStart(2, "0");
  const local = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}T${two(at.getHours())}:${two(at.getMinutes())}`;
  const until = h("input", { type: "datetime-local", "aria-label": "Until", min: local(new Date(now)), value: local(new Date(now + 3_600_000)) });
  const fault = h("p.fault-text", { role: "alert" });
  const choices = SNOOZES.map(([label, seconds]) => h("button.quiet", { type: "button", onclick: () => made.close({ for: seconds }) }, h("span", {}, label)));
  const submit = (event) => {
    event.preventDefault();
    const at = new Date(until.value);
    if (Number.isNaN(at.getTime()) || at.getTime() <= now) fault.textContent = "Give a time that lies ahead.";
    else made.close({ until: at.toISOString() });
  };
  const made = dialog("Snooze the alert", h("div.snooze", {},
    h("p", {}, "It is silent until then, and fires again where it has not ended meanwhile."),
    h("div.row-of-buttons", { role: "group", "aria-label": "For" }, ...choices),
    h("form.row-of-buttons", { onsubmit: submit, novalidate: true }, h("label", {}, "Until ", until), h("button.primary", { type: "submit" }, "Snooze")),
    fault));
  return made.closed;
}

/**
 * What can be done to alerts, for a list or a page. `done(alert)` is called with the server's answer, `redraw()` where only what became of
 * something is to be shown; `comment()` gives what is kept in the history. Returns `buttons(alert)`, whose `answer(alert)` is what the
 * alert's buttons say of the last thing done to it.
 */
export function alertActions({ client, now }, { done, redraw, comment = () => "" }) {
  // What became of the last thing that somebody did, where the alert does not show it.
  let answer = null;
  const tell = (alert, text, refused) => {
    answer = { id: alert.alert, text, refused };
    redraw();
  };
  const act = async (alert, what, body = {}) => {
    const said = comment().trim();
    try {
      const changed = await client.post(`/alerts/${encodeURIComponent(alert.alert)}/${what}`, { ...body, ...(said && { comment: said }) });
      answer = null;
      done(changed);
    } catch (fault) {
      const right = fault.status === 403 ? ` (this needs the right to command alerts.main.${what === "unsnooze" ? "snooze" : what})` : "";
      tell(alert, `Not done: ${fault.status ? fault.message : "the server cannot be reached"}${right}`, true);
    }
  };
  const give = async (alert, { label, command }) => {
    try {
      await client.command(...addressed(command), {});
      tell(alert, `Done: ${label}`, false);
    } catch (fault) {
      tell(alert, `Not done: ${fault.message}`, true);
    }
  };
  const snooze = async (alert) => {
    const body = await askSnooze(now());
    if (body) act(alert, "snooze", body);
  };
  const answerOf = (alert) => (answer?.id === alert.alert ? answer : null);
  const buttons = (alert) => {
    if (!alert.alert) return null;
    const offered = Object.entries(ACTIONS).filter(([, { states }]) => states.includes(alert.state));
    if (!offered.length) return null;
    const button = (what, label, onclick, picture = null) => h("button.quiet", { type: "button", dataset: { action: what, alert: alert.alert }, onclick }, picture && icon(picture), h("span", {}, label));
    const shown = answerOf(alert);
    return h("div.actions", {},
      ...offers(alert, give),
      ...offered.flatMap(([what, { label, body }]) => [
        button(what, label, () => act(alert, what, body)),
        ...(what === "snooze" ? [button("snooze-until", "Snooze …", () => snooze(alert), "clock")] : []),
      ]),
      shown && h(shown.refused ? "span.refused" : "span.answer", { role: "status" }, shown.text));
  };
  return Object.assign(buttons, { answer: answerOf });
}
