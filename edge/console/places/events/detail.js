/** Shows one event whole beside the list, with what can be done with it. */

import { copyButton, h, icon, say, show } from "../../dom.js";
import { clock, curl } from "../../format.js";
import { dialog } from "../../parts/dialog.js";
import { jsonView } from "../../parts/json.js";
import { sentence } from "../../parts/states.js";
import { exact, time } from "../../parts/time.js";
import { chainOf } from "./chain.js";
import { diff } from "./diff.js";
import { comesBefore } from "./place.js";

const line = (event) => [h("span.type", {}, event.event_type), h("span.subject", {}, event.subject), h("span.faint", { title: exact(Date.parse(event.timestamp)) }, clock(Date.parse(event.timestamp)))];
const shown = (value) => (value === undefined ? "" : JSON.stringify(value));

/** What differs between two events, as a dialog. */
export function compare(one, other) {
  const [before, after] = comesBefore(one, other) ? [one, other] : [other, one];
  const found = diff({ type: before.event_type, subject: before.subject, source: before.source, data: before.data }, { type: after.event_type, subject: after.subject, source: after.source, data: after.data });
  const rows = found.map(({ path, kind, before: was, after: is }) => h(`tr.${kind}`, {}, h("th", { scope: "row" }, path), h("td.was", {}, shown(was)), h("td.is", {}, shown(is))));
  const head = h("tr", {}, h("th", { scope: "col" }, "Place"), h("th", { scope: "col" }, `Before, ${clock(Date.parse(before.timestamp))}`), h("th", { scope: "col" }, `After, ${clock(Date.parse(after.timestamp))}`));
  const table = h("div.table-scroll", { tabindex: 0, role: "region", "aria-label": "Differences" }, h("table.table.diff", {}, h("thead", {}, head), h("tbody", {}, ...rows)));
  const both = (one, other, word) => (one === other ? one : `${one}${word}${other}`);
  return dialog(`Compare ${both(before.event_type, after.event_type, " and ")}`, [h("p", {}, both(before.subject, after.subject, " · ")), rows.length ? table : h("p", {}, "The two say the same.")], { wide: true });
}

/** `acts` has `close()`, `only(values)`, `onward(event)`, `around(event)`, `open(event)`, `mark(event)`, `marked()`, `link(event)`, `ask(query)`, `base`, `token()`. */
export function detailPanel(acts) {
  const title = h("h3");
  const when = h("p.faint");
  const body = h("div.content");
  const element = h("aside.detail", { hidden: true, "aria-label": "The chosen event" },
    h("header", {}, title, h("button.tool", { type: "button", "aria-label": "Close", title: "Close (Esc)", onclick: acts.close }, icon("cross"))), when, body);
  const button = (label, picture, onclick) => h("button.quiet", { type: "button", onclick }, icon(picture), h("span", {}, label));
  let current = null;

  const chain = (event) => {
    const box = h("div.chain", { "aria-live": "polite" });
    const item = (each, word) => h("li", {}, h("span.word", {}, word), h("button.event-link", { type: "button", onclick: () => acts.open(each) }, ...line(each)));
    const follow = async () => {
      say(box, "Looking for causes and effects …");
      try {
        const { causes, effects, lost } = await chainOf(acts.ask, event);
        if (current !== event) return;
        const rows = [...causes.map((each) => item(each, "cause")), h("li.self", {}, h("span.word", {}, "this"), ...line(event)), ...effects.map((each) => item(each, "effect"))];
        box.replaceChildren(h("ol", {}, ...rows), lost ? h("p.faint", {}, `Its cause ${lost} is no longer kept.`) : "", !causes.length && !effects.length && !lost ? h("p.faint", {}, "It names no cause, and nothing names it as one.") : "");
      } catch (fault) {
        say(box, `The chain could not be read. ${sentence(fault.message)}`);
      }
    };
    return [button("Follow the cause chain", "link", follow), box];
  };

  const draw = (event) => {
    const other = acts.marked();
    say(title, event.event_type);
    when.replaceChildren(event.subject, " · ", time(event.timestamp, "clock"));
    const [follow, box] = chain(event);
    const differ = other && other.id !== event.id ? button("Compare with the marked one", "diff", () => compare(other, event)) : button(other ? "Marked: choose another one" : "Mark to compare", "diff", () => acts.mark(event));
    const view = jsonView(event, { label: "The whole event", more: [copyButton("Copy as curl", () => curl(event, acts.base, acts.token())), copyButton("Copy link", () => acts.link(event))] });
    body.replaceChildren(
      h("div.row-of-buttons", {}, button("From here on", "next", () => acts.onward(event)), button("Before and after", "clock", () => acts.around(event)), differ),
      h("div.row-of-buttons", {}, button(`Only ${event.event_type}`, "filter", () => acts.only({ type: event.event_type })), button("Only this subject", "filter", () => acts.only({ subject: event.subject })), follow),
      box, view);
  };

  return {
    element,
    /** Shows an event; null closes it. */
    open(event) {
      const same = current === event;
      current = event;
      show(element, Boolean(event));
      if (event && !same) draw(event);
    },
    redraw: () => current && draw(current),
    get event() {
      return current;
    },
  };
}
