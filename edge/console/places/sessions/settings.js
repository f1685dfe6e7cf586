/** Shows a session's effective configuration: what it says, and the defaults where it says nothing. */

import { h } from "../../dom.js";
import { jsonView } from "../../parts/json.js";
import { number } from "../../format.js";

const yes = (value) => (value ? "Yes" : "No");
const seconds = (value) => (value === null || value === undefined ? null : value === 0 ? "Never" : `${number(value, Number.isInteger(value) ? 0 : 1)} s`);
const list = (value) => value?.join(", ");

/** `[field, label, read, default]`: the default is what stands where nothing was said. */
const READING = [
  ["events", "Event types", list, "All"],
  ["subjects", "Subjects", list, "All that its owner may read, and what is addressed to it"],
  ["filter", "Filter", String, "None"],
  ["include_intermediate_results", "Intermediate results", yes, "Yes"],
  ["dialect", "Form of an event", String, "callback"],
  ["ttl", "Expires after", seconds, "The server's setting"],
];
const PACE = [["conflate", "Conflate", yes, "No"], ["max_rate", "Writes per second", String, "As they come"]];
const DELIVERY = [
  ["webhook_url", "Address", String, ""],
  ["timeout", "Timeout", seconds, "30 s"],
  ["retry_attempts", "Retries", String, ""],
  ["retry_profile", "Backoff", String, "guide"],
  ["retry_schedule", "Backoff of its own", (value) => value?.map((each) => `${each} s`).join(", "), "None"],
  ["mode", "Order", String, "unordered"],
  ["on_exhausted", "When retries are used up", String, "continue"],
  ["concurrency", "Posts at once", String, "8"],
  ["rate", "Posts per second", String, "As they come"],
  ["allowed_rate", "Posts per second that the receiver allows", String, "As many as it is asked for"],
  ["batch", "Batches", (value) => (value ? `up to ${value.max_n} events, after ${value.linger} s` : null), "One event a post"],
  ["gzip_above", "Compressed above", (value) => (value === null || value === undefined ? null : `${number(value)} bytes`), "Never"],
  ["max_age", "Gives up after", seconds, "When retries are used up"],
  ["verify", "Asks the receiver first", String, "none"],
  ["headers", "Headers", (value) => list(Object.keys(value ?? {})), "None"],
  ["signing", "Signature", String, "hmac-sha256"],
  ["old_secrets_until", "Older secrets sign until", list, "None does"],
];

const given = (value) => value !== null && value !== undefined && !(Array.isArray(value) && !value.length);

/** A list of what holds; a value that nobody set is marked as the default. */
export function settingsView(session) {
  const rows = [...READING, ...(session.delivery_method === "webhook" ? DELIVERY : PACE)].map(([name, label, read, fallback]) => {
    const own = given(session[name]) ? read(session[name]) : null;
    const isDefault = !own || own === fallback;
    return [h("dt", {}, label), h("dd", { dataset: { field: name } }, own || fallback || "–", isDefault && h("span.faint", {}, " (default)"))];
  });
  return h("div.settings", {}, h("dl.settings-list", {}, ...rows.flat()), h("details", {}, h("summary", {}, "As the API shows it"), jsonView(session, { label: "The session" })));
}
