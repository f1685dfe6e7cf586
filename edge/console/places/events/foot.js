/** Says below the list how far it reaches, and moves it to any place in the stream. */

import { copyButton, h, say, show } from "../../dom.js";
import { clock, number } from "../../format.js";
import { query } from "../../../client/http.js";

/** `acts` has `further()`, `jump(sequence)`, `curl()`. Returns `{ element, tell(log, sequence, refused) }`. */
export function foot(acts) {
  const reach = h("span", { role: "status" });
  const further = h("button.quiet", { type: "button", hidden: true, onclick: acts.further }, "Search further back");
  const place = h("span.place.faint");
  const rail = h("input.rail", { type: "range", min: 0, max: 1, step: 1, "aria-label": "Place in the stream", oninput: () => tellPlace(), onchange: () => acts.jump(Number(rail.value)) });
  const field = h("label.rail-field", {}, place, rail);
  let newest = 0;
  const tellPlace = () => {
    rail.setAttribute("aria-valuetext", `event ${number(Number(rail.value))} of ${number(newest)}`);
    say(place, `${number(Number(rail.value))} / ${number(newest)}`);
  };
  const tell = (log, sequence, refused = false) => {
    const shown = log.entries.length;
    const oldest = log.entries[0]?.at;
    const back = log.atStart ? (log.floor > log.first ? "from here on" : "to the oldest that is kept") : oldest ? `back to ${clock(oldest).slice(0, 8)}` : "so far";
    const searching = Boolean(log.filter.wanted);
    say(reach, searching ? `${number(shown)} found in ${number(log.searched)} events, ${back}${log.busy.back ? " …" : ""}` : shown ? `${number(shown)} events, ${back}` : "");
    show(further, log.filter.narrows && !log.atStart && !log.busy.back && !refused);
    newest = log.newest;
    show(field, log.newest > log.first);
    // Nothing moves under the hand of somebody who moves it.
    if (document.activeElement === rail) return;
    rail.min = Math.min(log.first, log.newest);
    rail.max = log.newest;
    rail.value = sequence;
    tellPlace();
  };
  return { element: h("div.foot", {}, reach, further, field, copyButton("Copy as curl", acts.curl)), tell };
}

// A page of the server holds at most so many events.
const PAGE = 1_000;

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/**
 * A command that reads what the list asks the server for: from its time or place on, else the newest. The server knows no search in all text:
 * jq makes that one, in as many events as a page holds.
 */
export function listCurl({ base, token }, log) {
  const { filter } = log;
  const searching = Boolean(filter.wanted);
  const place = filter.since ? { since: filter.since } : log.floor > log.first ? { cursor: log.before(log.floor) } : { last: searching ? PAGE : 100 };
  const asked = query({ ...filter.query(), ...place, ...(searching && { limit: PAGE }) });
  const search = `.events |= map(select("\\(.event_type) \\(.subject) \\(.source) \\(.id) \\(.data | tojson)" | ascii_downcase | contains($q)))`;
  const command = `curl ${token ? '-H "Authorization: Bearer $CALLBOARD_TOKEN" ' : ""}${quoted(`${base}/events${asked}`)}`;
  return searching ? `${command} | jq --arg q ${quoted(filter.wanted)} ${quoted(search)}` : command;
}
