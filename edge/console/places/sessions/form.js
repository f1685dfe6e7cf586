/** The form of a session, to make one or to change one: only what the method uses, and what the server makes of nothing said. */

import { h, say, show } from "../../dom.js";
import { listed, field, pairs } from "./fields.js";
import { typePicker } from "./types.js";

const section = (title, ...fields) => h("fieldset.form-section", {}, h("legend", {}, title), h("div.fields", {}, ...fields.map(({ element }) => element)));

/** The fields that every session has. */
const reading = () => [
  field({ name: "name", label: "Name", hint: "How people find it.", placeholder: "Nightly renders", maxlength: 200 }),
  field({ name: "subjects", label: "Subjects", hint: "Patterns with * for one part and > for the rest, with commas between. Left out: everything you may read.", placeholder: "agent.*.>, job.run-42.>", wide: true }),
  field({ name: "filter", label: "Filter (CEL)", hint: "Only events for which this is true.", placeholder: "data.progress > 0.5", wide: true }),
  field({ name: "include_intermediate_results", label: "Intermediate results", kind: "flag", value: true, hint: "Progress, thinking and pieces of text; without it, only what ends something." }),
];

const pace = () => [
  field({ name: "conflate", label: "Conflate", kind: "flag", hint: "Leave out events that a newer one supersedes: for displays, not for records." }),
  field({ name: "max_rate", label: "Writes per second, at most", kind: "number", min: 0.1, max: 1000, hint: "Left out: as they come." }),
];

const lifetime = () => field({ name: "ttl", label: "Expires after (s)", kind: "number", min: 0, hint: "Seconds without a reader, or of a webhook without a post; 0: never. Left out: the server's setting." });

const delivery = () => [
  field({ name: "timeout", label: "Timeout (s)", kind: "number", min: 0.1, max: 60, value: 30, hint: "For one attempt, from the look-up of the name to the answer's status." }),
  field({ name: "retry_attempts", label: "Retries", kind: "number", min: 0, max: 20, step: 1, hint: "After the first attempt. Left out: as many as the backoff has." }),
  field({ name: "retry_profile", label: "Backoff", kind: "select", value: "guide", options: [["guide", "guide: half a minute in all"], ["fast", "fast: minutes"], ["standard", "standard: days"]], hint: "How long it waits between attempts. What is given up is a dead letter." }),
  field({ name: "rate", label: "Posts per second, at most", kind: "number", min: 0.01, hint: "Evenly spaced; what is more waits." }),
];
const ordering = () => [
  field({ name: "mode", label: "Order", kind: "select", value: "unordered", options: [["unordered", "unordered: several at once"], ["keyed", "keyed: one at a time for each key"], ["fifo", "fifo: one at a time, in order"]], hint: "In order means that one failing event holds the others back." }),
  field({ name: "on_exhausted", label: "When retries are used up", kind: "select", value: "continue", options: [["continue", "go on with the next"], ["halt", "halt until it is enabled"]] }),
  field({ name: "concurrency", label: "Posts at once", kind: "number", min: 1, max: 64, step: 1, value: 8 }),
  field({ name: "batch_max", label: "Events in a post", kind: "number", min: 1, max: 1000, step: 1, hint: "More than one makes the body a JSON array. Left out: one event a post." }),
  field({ name: "batch_linger", label: "Wait for a batch (s)", kind: "number", min: 0, max: 60, hint: "How long the first event of a batch waits for others." }),
  field({ name: "gzip_above", label: "Compress above (bytes)", kind: "number", min: 0, step: 1, hint: "Larger bodies are sent in gzip." }),
  field({ name: "max_age", label: "Give up after (s)", kind: "number", min: 1, hint: "What is older is not tried again." }),
];
const trust = (change) => [
  pairs({ name: "headers", label: "Headers", secret: true, hint: change ? "Values are never shown. What you enter here replaces all headers." : "Sent with every post. Their values are never shown again." }),
  ...(change ? [] : [
    field({ name: "secret", label: "Secret", kind: "password", placeholder: "whsec_… (made for you)", hint: "Signs every post, as Standard Webhooks has it. Left out: one is made, and shown once." }),
    field({ name: "signing", label: "Signature", kind: "select", options: [["", "HMAC-SHA256 (v1, shared secret)"], ["ed25519", "Ed25519 (v1a, public key)"]] }),
  ]),
  field({ name: "verify", label: "Ask the receiver first", kind: "select", value: "none", options: [["none", "no"], ["post", "by a test event"], ["options", "by OPTIONS (CloudEvents)"]], hint: "Nothing is sent until it has agreed." }),
];

/** What the fields hold, as the body of a request has it. */
function bodyOf(fields) {
  const body = {};
  for (const { name, value } of fields) {
    if (value === null || value === "") continue;
    if (name === "subjects") body.subjects = listed(value);
    else if (!name.startsWith("batch_")) body[name] = value;
  }
  const { batch_max: size, batch_linger: linger } = Object.fromEntries(fields.map((each) => [each.name, each.value]));
  if (size > 1 || linger > 0) body.batch = { ...(size && { max_n: size }), ...(linger !== null && linger !== undefined && { linger }) };
  return body;
}

/**
 * `change` is a session that is changed, whose method stays. Returns `{ element, method(name), body, changes, fault(fault), types }`:
 * `body` creates a session, `changes` holds only what differs from `change`.
 */
export function sessionForm({ change = null, changed = () => {} } = {}) {
  const types = typePicker(changed);
  const address = field({ name: "webhook_url", label: "Your address", kind: "text", placeholder: "https://your-app.example/callbacks", hint: "Where events are posted.", wide: true });
  const start = change ? null : field({ name: "start", label: "Begin", kind: "select", value: "", options: [["", "now"], ["last=100", "with the last 100 events"], ["cursor=earliest", "with the oldest kept"], ["cursor=snapshot", "with the newest state of everything"]], hint: "Where the first reader begins." });
  const parts = { reading: reading(), pace: pace(), lifetime: lifetime(), delivery: delivery(), ordering: ordering(), trust: trust(change) };
  const readerParts = [section("Pace", ...parts.pace)];
  const hookParts = [section("Delivery", ...parts.delivery), h("details.advanced", {}, h("summary", {}, "Order, batching and compression"), section("Order and batches", ...parts.ordering)), section("Trust", ...parts.trust)];
  const top = h("p.form-fault", { role: "alert", hidden: true });
  let method = change?.delivery_method ?? "websocket";
  const common = [...parts.reading, parts.lifetime, types];
  const used = () => [...common, ...(method === "webhook" ? [address, ...parts.delivery, ...parts.ordering, ...parts.trust] : parts.pace)];
  const addressSection = h("fieldset.form-section", {}, h("legend", {}, "Receiver"), h("div.fields", {}, address.element));
  const element = h("div.session-form", {}, addressSection,
    h("fieldset.form-section", {}, h("legend", {}, "Event types"), types.element),
    section("What it reads", ...parts.reading, ...(start ? [start] : []), parts.lifetime),
    ...readerParts, ...hookParts, top);

  const choose = (name) => {
    method = name;
    for (const part of [addressSection, ...hookParts]) show(part, name === "webhook");
    for (const part of readerParts) show(part, name !== "webhook");
    if (start) [...start.input.options].find(({ value }) => value.includes("snapshot")).disabled = name === "webhook";
  };
  choose(method);
  element.addEventListener("input", changed);
  element.addEventListener("change", changed);

  if (change) fill(change, [...used()]);
  const before = change ? bodyOf(used()) : null;
  return {
    element, types, method: choose,
    get body() {
      const [key, value] = start?.value?.split("=") ?? [];
      const begun = key ? { [key]: key === "last" ? Number(value) : value } : {};
      return { delivery_method: method, ...bodyOf(used()), ...begun };
    },
    /** What differs; a field that was emptied is null, so that it goes back to its default. */
    get changes() {
      const after = bodyOf(used());
      const names = new Set([...Object.keys(before), ...Object.keys(after)]);
      return Object.fromEntries([...names].filter((name) => JSON.stringify(before[name]) !== JSON.stringify(after[name])).map((name) => [name, after[name] ?? null]));
    },
    /** Says what the server refuses, at its field where it names one. */
    fault(fault) {
      const all = used();
      for (const each of all) each.fault("");
      const text = fault ? String(fault.message) : "";
      const named = fault && all.find(({ name }) => name === String(fault.field ?? "").split(/[.[]/)[0] || text.startsWith(`${name}:`) || text.startsWith(`${name} `));
      named?.fault(named.label && text.startsWith(`${named.name} `) ? text.replace(named.name, named.label) : text);
      (named?.input ?? named?.element)?.closest("details")?.setAttribute("open", "");
      named?.input?.focus({ preventScroll: true });
      // Not below the bar with the button.
      named?.element.scrollIntoView({ block: "center" });
      say(top, named ? "" : text);
      show(top, Boolean(text) && !named);
    },
  };
}

function fill(session, fields) {
  const values = {
    ...session, subjects: session.subjects?.join(", "),
    batch_max: session.batch?.max_n, batch_linger: session.batch?.linger,
    // They are starred: an empty field leaves them as they are.
    headers: null,
  };
  for (const each of fields) each.set(values[each.name] ?? null);
}
