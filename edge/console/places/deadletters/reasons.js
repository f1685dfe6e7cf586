/** Says in words why deliveries are given up or are not sent again, and what to do about it. */

/** By reason: what it is called, what happened, and what to do. */
const REASONS = {
  exhausted: ["All attempts failed", "The receiver was tried as often as its session allows, and failed each time.", "Mend the receiver, then send the event again."],
  gone: ["The receiver is gone", "It answered 410: it wants no more events, and its session was disabled.", "Enable the session, or make one with the new address; then send again."],
  payload_too_large: ["Too large for the receiver", "It answered 413: it takes no body of this size.", "Raise its limit, then send again."],
  unsupported_type: ["The receiver does not take this type", "It answered 415.", "Let it take JSON, then send again."],
  rejected: ["Refused for good", "The receiver or the actor said that this event is not to be tried again.", "See what it said below. Send again only after that has changed."],
  ssrf_blocked: ["The address is not allowed", "The receiver's name leads to an address that webhooks may not reach.", "Correct the address, or allow its network in the settings of the edge."],
  bad_url: ["The address cannot be used", "The session's webhook address is not one that can be posted to.", "Correct the address in the session, then send again."],
  overflow: ["Too many were waiting", "The session's events waited for their turn and there was no room for more.", "See why its receiver is slow; then send again at a lower rate."],
  ttl_expired: ["It waited too long", "The event grew older than its session's time to live before it could be delivered.", "Send it again if it still matters."],
  endpoint_disabled: ["The endpoint is disabled", "Its session takes nothing until it is enabled again.", "Enable the session's endpoint, then send again."],
  aborted: ["Called off", "The receiver or an operator asked for no more attempts.", "Send it again if that has changed."],
  decode_error: ["Not an event", "The bytes are no event in any form that the router reads.", "Correct the producer. Sending it again cannot help."],
  malformed_event: ["A malformed event", "It could be read, and does not keep to the schema of its type.", "Correct the producer or the declared type, then send again."],
  attempts_spent: ["The actor failed each time", "The actor crashed at this event as often as it may be tried.", "See its log for the error below, correct the actor, then send again."],
  cut_short: ["The process ended each time", "The process of the actor ended before it was done with this event.", "See whether it runs out of memory or time, then send again."],
  too_large: ["Too large to be stored", "The event is larger than a message may be.", "Send smaller events, or raise the limit of NATS."],
  not_a_job: ["Not a delivery", "What lay in the queue was no job of the router.", "See who else writes to this stream. Sending it again cannot help."],
  fault: ["An error of the router", "A part of the router failed at this event.", "The log of the edge says more. Send it again after an upgrade."],
  unwritable: ["It could not be written", "The request for the receiver could not be made from this event.", "See the detail below."],
  throttled: ["The receiver was overloaded", "It answered 429 to every attempt.", "Send again at a lower rate."],
  server_error: ["The receiver failed", "It answered with an error of its own.", "Mend the receiver, then send again."],
  redirect: ["The receiver redirects", "Webhooks follow no redirects.", "Enter the address it leads to in the session, then send again."],
  poison: ["It breaks its readers", "This event made the parts that read it fail.", "Correct the producer. The log of the edge says more."],
};

/** Why a redrive left one where it is. */
const SKIPPED = {
  needs_force: "was sent again five times already (force sends it once more)",
  event_gone: "the event is no longer kept",
  too_large: "is too large",
  unknown_origin: "came from nowhere that is known",
  session_gone: "its session was deleted",
  no_webhook: "its session is no webhook any more",
  endpoint_disabled: "its endpoint is disabled",
  breaker_open: "its endpoint's circuit breaker is open",
  undecodable: "cannot be read",
  no_way_back: "there is nowhere to send it",
  run_over: "its run has ended already",
  refused: "was refused",
  actor_absent: "its actor does not run",
  no_answer: "its actor did not answer",
  bad_answer: "its actor's answer cannot be read",
  fault: "the router failed at it",
  sent_before: "had been sent before",
};

const words = (reason) => String(reason || "unknown").replaceAll("_", " ");

/** `{ title, text, advice }` of a reason, also of one that is not known here. */
export function explained(reason) {
  const [title, text, advice] = REASONS[reason] ?? [words(reason).replace(/^./, (letter) => letter.toUpperCase()), "The detail below says what happened.", "Correct that, then send the event again."];
  return { title, text, advice };
}

/** "its actor does not run (3), is too large (1)" of a redrive's counts by reason; of a single one the count is said before. */
export function left(reasons) {
  const counted = Object.entries(reasons ?? {}).sort((a, b) => b[1] - a[1]);
  return counted.map(([reason, count]) => `${SKIPPED[reason] ?? explained(reason).title.toLowerCase()}${counted.length > 1 ? ` (${count})` : ""}`).join(", ");
}

const NAMES = { origin: "from", name: "session or actor", reason: "reason", subject: "subject", event: "event", since: "since", until: "until", text: "with" };

/** A filter in words; "all dead letters" where it is empty. */
export function described(filter) {
  if (filter.ids) return `${filter.ids.length} that were selected`;
  const parts = Object.entries(filter).map(([field, value]) => `${NAMES[field] ?? field}${field === "reason" ? ":" : ""} ${field === "reason" ? explained(value).title.toLowerCase() : field === "since" || field === "until" ? new Date(value).toLocaleString() : field === "text" ? `“${value}”` : value}`);
  return parts.length ? parts.join(", ") : "all dead letters";
}
