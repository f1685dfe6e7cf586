/** Names the stretches of time that a list is narrowed to, such as last night, in the viewer's zone. */

const HOUR = 3_600_000;
// A night ends at eight in the morning and began at six the evening before.
const MORNING = 8;
const NIGHT = 14 * HOUR;

/** The begin of a day in ms; by the calendar, since a day of a change of clocks has not 24 hours. */
function midnight(now, days = 0) {
  const day = new Date(now);
  day.setDate(day.getDate() + days);
  return day.setHours(0, 0, 0, 0);
}

/** For a select of `filterBar`. */
export const SPANS = [["", "Any time"], ["hour", "Last hour"], ["day", "Last 24 hours"], ["night", "Last night"], ["yesterday", "Yesterday"], ["week", "Last 7 days"]];

/** `{ since, until }` in ms, null where it is open; `now` in ms. */
export function spanOf(name, now) {
  const back = { hour: HOUR, day: 24 * HOUR, week: 168 * HOUR }[name];
  if (back) return { since: now - back, until: null };
  if (name === "today") return { since: midnight(now), until: null };
  if (name === "yesterday") return { since: midnight(now, -1), until: midnight(now) };
  if (name !== "night") return { since: null, until: null };
  const morning = new Date(now).setHours(MORNING, 0, 0, 0);
  return { since: morning - NIGHT, until: morning };
}

/** The same as parameters of a request, without what is open. */
export function spanQuery(name, now) {
  const given = Object.entries(spanOf(name, now)).filter(([, at]) => at !== null);
  return Object.fromEntries(given.map(([end, at]) => [end, new Date(at).toISOString()]));
}
