/** Shows when something was: how long ago, with the exact time, in the viewer's zone, on hover; or the time of day, or a date. */

import { h, say } from "../dom.js";
import { ago, clock, moment } from "../format.js";

const STEP = 5_000;
const shown = new Set();
let now = Date.now;
let timer = null;

/** Whose clock says what is now (ms): the server's. */
export function setClock(read) {
  now = read;
}

/** The whole of a time: date, time to the millisecond and the zone's offset, as this machine has them. */
export function exact(at) {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return "";
  const zone = -date.getTimezoneOffset();
  const two = (part) => String(Math.trunc(Math.abs(part))).padStart(2, "0");
  return `${date.toLocaleDateString("en-CA")} ${clock(at)} UTC${zone < 0 ? "−" : "+"}${two(zone / 60)}:${two(zone % 60)}`;
}

/** The time of day to the second, with the day where that is not today. */
function dated(at) {
  const [then, today] = [new Date(at), new Date(now())];
  const time = clock(at).slice(0, 8);
  if (then.toDateString() === today.toDateString()) return time;
  const year = then.getFullYear() === today.getFullYear() ? {} : { year: "numeric" };
  return `${then.toLocaleDateString("en-GB", { day: "numeric", month: "short", ...year })}, ${time}`;
}

const FORMS = { ago: (at) => ago(at, now()), clock, second: (at) => clock(at).slice(0, 8), date: dated };

function tell(element) {
  const at = Number(element.dataset.at);
  say(element, FORMS[element.dataset.form](at));
}

function refresh() {
  for (const element of shown) {
    if (element.isConnected) tell(element);
    else if (element.dataset.seen) shown.delete(element);
    // One that is not in the page yet may be put there until the next turn.
    element.dataset.seen = "1";
  }
  if (!shown.size) {
    clearInterval(timer);
    timer = null;
  }
}

/**
 * An element for a time (RFC 3339, or a number as `moment` reads them); `form` is "ago", "clock", "second" for the clock without
 * milliseconds, or "date" for that with the day where it is not today.
 */
export function time(value, form = "ago") {
  const element = h("time.when", { dataset: { form } });
  setTime(element, value);
  if (form === "ago") {
    shown.add(element);
    timer ??= setInterval(refresh, STEP);
  }
  return element;
}

/** Gives such an element another time. */
export function setTime(element, value) {
  const at = moment(value);
  if (!Number.isFinite(at)) {
    element.removeAttribute("datetime");
    element.title = "";
    say(element, "–");
    return;
  }
  if (element.dataset.at === String(at)) return tell(element);
  element.dataset.at = at;
  element.dateTime = new Date(at).toISOString();
  element.title = exact(at);
  tell(element);
}
