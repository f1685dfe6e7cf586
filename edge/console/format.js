/** Formats numbers and times. */

const NONE = "–";

// Making one takes some fifty times as long as using it.
const formats = new Map();
function formatOf(digits) {
  if (!formats.has(digits)) formats.set(digits, new Intl.NumberFormat("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  return formats.get(digits);
}

export function number(value, digits = 0) {
  return Number.isFinite(value) ? formatOf(digits).format(value) : NONE;
}

/** 12.3, 123, 1.2 k: three digits that matter. */
export function short(value) {
  if (!Number.isFinite(value)) return NONE;
  for (const [size, unit] of [[1e9, " G"], [1e6, " M"], [1e3, " k"]]) {
    if (Math.abs(value) >= size) return number(value / size, Math.abs(value) < 10 * size ? 1 : 0) + unit;
  }
  return number(value, value !== 0 && Math.abs(value) < 10 && !Number.isInteger(value) ? 1 : 0);
}

export const bytes = (value) => (Number.isFinite(value) ? `${short(value)}${value < 1e3 ? " " : ""}B` : NONE);

export const percent = (value) => (Number.isFinite(value) ? `${Math.floor(Math.min(1, value) * 100)} %` : "");

export function milliseconds(value) {
  if (!Number.isFinite(value)) return NONE;
  if (value < 1) return "< 1 ms";
  return value < 1_000 ? `${Math.round(value)} ms` : `${(value / 1_000).toFixed(1)} s`;
}

/** 8 s, 1:05, 2:03:04. */
export function duration(seconds) {
  if (!Number.isFinite(seconds) || seconds < 0) return NONE;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const two = (part) => String(part).padStart(2, "0");
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** How long something took: 320 ms, 4.2 s, 1:05. */
export const took = (seconds) => (seconds < 10 ? milliseconds(seconds * 1_000) : duration(seconds));

export function ago(moment, now) {
  const seconds = Math.max(0, (now - moment) / 1000);
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 5) return "now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return new Date(moment).toLocaleDateString();
}

/** The time of day to the millisecond, in this machine's zone. */
export function clock(moment) {
  const date = new Date(moment);
  if (Number.isNaN(date.getTime())) return NONE;
  const two = (part) => String(part).padStart(2, "0");
  const part = String(date.getMilliseconds()).padStart(3, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${part}`;
}

/** Reads RFC 3339, or a number of seconds, milliseconds or nanoseconds since the epoch, as milliseconds. */
export function moment(value) {
  if (typeof value === "string") return Date.parse(value);
  if (!Number.isFinite(value)) return Number.NaN;
  if (value > 1e17) return value / 1e6;
  return value > 1e11 ? value : value * 1000;
}

/** One line that says what an event's data hold. */
export function summary(data) {
  const parts = [];
  let length = 0;
  for (const [key, value] of Object.entries(data ?? {})) {
    if (value === null || value === "") continue;
    const text = typeof value === "number" ? String(Math.round(value * 1e4) / 1e4)
      : typeof value === "string" ? value : JSON.stringify(value);
    parts.push([key, text.length > 120 ? `${text.slice(0, 120)}…` : text]);
    length += text.length + key.length;
    if (length > 240) break;
  }
  return parts;
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** The command that publishes this event once more; where a token is needed it is taken from the environment. */
export function curl(event, base, token = null) {
  const { subject, event_type: type, data, key, cause } = event;
  const body = JSON.stringify({ subject, type, data, ...(key && { key }), ...(cause && { cause }) });
  const proof = token ? `-H "Authorization: Bearer $CALLBOARD_TOKEN" ` : "";
  return `curl -X POST ${quoted(`${base}/events`)} ${proof}-H 'Content-Type: application/json' -d ${quoted(body)}`;
}
