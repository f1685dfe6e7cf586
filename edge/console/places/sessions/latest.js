/** Shows the last events of a session as they come, without reading the session itself: its cursor and figures stay as they are. */

import { h, show } from "../../dom.js";
import { summary } from "../../format.js";
import { jsonView } from "../../parts/json.js";
import { time } from "../../parts/time.js";

const SHOWN = 20;

/** Returns `{ element, close() }`. */
export function latestEvents(session, client) {
  const rows = h("ol.latest-rows");
  const none = h("p.faint", {}, "None yet. Send a test event, and it appears here.");
  const element = h("div.latest", {}, none, rows);
  const own = `session.${session.session_id}.>`;
  const subjects = session.subjects ?? null;
  const take = (event) => {
    // Without subjects a session is told all but what is addressed to others.
    if (!subjects && event.subject.startsWith("session.") && !event.subject.startsWith(own.slice(0, -1))) return;
    const detail = h("div.latest-detail", { hidden: true });
    const button = h("button.latest-row", { type: "button", "aria-expanded": "false", onclick: () => {
      if (!detail.childElementCount) detail.append(jsonView(event, { label: `Event ${event.id}` }));
      show(detail, detail.hidden);
      button.setAttribute("aria-expanded", String(!detail.hidden));
    } }, time(event.timestamp, "clock"), h("b", {}, event.event_type), h("span.subject", {}, event.subject),
      h("span.faint.said", {}, summary(event.data).map(([key, value]) => `${key}: ${value}`).join("  ")));
    rows.prepend(h("li", { dataset: { id: event.id } }, button, detail));
    while (rows.childElementCount > SHOWN) rows.lastElementChild.remove();
    show(none, false);
  };
  const reading = client.subscribe({
    subjects, types: session.events ?? null, last: SHOWN, include_intermediate_results: session.include_intermediate_results,
    ...(session.filter && { filter: session.filter }),
  }, take);
  return { element, close: () => reading.close() };
}
