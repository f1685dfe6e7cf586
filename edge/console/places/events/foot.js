/** Says below the list how far it reaches, and moves it to any place in the stream. */

import { copyButton, h, say, show } from "../../dom.js";
import { clock, number } from "../../format.js";
import { query } from "../../../client/http.js";

const onDay = (at) => `${new Date(at).toLocaleDateString()} ${clock(at).slice(0, 8)}`;

/**
 * `acts` has `further()`, `jump(value)`, `curl()`. Returns `{ element, tell(log, entry, refused) }`; `entry` is the first that is seen, null at
 * the end. The rail is of sequences where there is one stream, else of times.
 */
export function foot(acts) {
  const reach = h("span", { role: "status" });
  const further = h("button.quiet", { type: "button", hidden: true, onclick: acts.further }, "Search further back");
  const place = h("span.place.faint");
  const rail = h("input.rail", { type: "range", min: 0, max: 1, step: 1, "aria-label": "Place in the stream", oninput: () => tellPlace(), onchange: () => acts.jump(Number(rail.value)) });
  const field = h("label.rail-field", {}, place, rail);
  let numbered = true;
  const tellPlace = () => {
    const value = Number(rail.value);
    const newest = number(Number(rail.max));
    rail.setAttribute("aria-valuetext", numbered ? `event ${number(value)} of ${newest}` : `events of ${onDay(value)}`);
    say(place, numbered ? `${number(value)} / ${newest}` : onDay(value));
  };
  const tell = (log, entry, refused = false) => {
    const shown = log.entries.length;
    const oldest = log.entries[0]?.at;
    const back = log.atStart ? (log.floor ? "from here on" : "to the oldest that is kept") : oldest ? `back to ${clock(oldest).slice(0, 8)}` : "so far";
    const searching = Boolean(log.filter.wanted);
    say(reach, searching ? `${number(shown)} found in ${number(log.searched)} events, ${back}${log.busy.back ? " …" : ""}` : shown ? `${number(shown)} events, ${back}` : "");
    show(further, log.filter.narrows && !log.atStart && !log.busy.back && !refused);
    const [first, last] = log.rail;
    show(field, last > first);
    // Nothing moves under the hand of somebody who moves it.
    if (document.activeElement === rail) return;
    numbered = log.numbered;
    rail.min = Math.min(first, last);
    rail.max = last;
    rail.value = entry?.event ? log.railOf(entry) : last;
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
  const place = filter.since ? { since: filter.since } : log.floor ? { cursor: log.floor.cursor } : { last: searching ? PAGE : 100 };
  const asked = query({ ...filter.query(), ...place, ...(searching && { limit: PAGE }) });
  const search = `.events |= map(select("\\(.event_type) \\(.subject) \\(.source) \\(.id) \\(.data | tojson)" | ascii_downcase | contains($q)))`;
  const command = `curl ${token ? '-H "Authorization: Bearer $CALLBOARD_TOKEN" ' : ""}${quoted(`${base}/events${asked}`)}`;
  return searching ? `${command} | jq --arg q ${quoted(filter.wanted)} ${quoted(search)}` : command;
}
