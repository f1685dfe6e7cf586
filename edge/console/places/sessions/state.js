/** Says in a word how an endpoint is, and in a sentence what that means. */

import { badge } from "../../views/panel.js";

/** By the state of the circuit breaker: label, tone, and what it means. */
export const ENDPOINT_STATES = {
  closed: ["Delivering", "ok", "Events are posted as they come."],
  paused: ["Paused by the receiver", "warn", "The receiver is overloaded, or asked for a pause (Retry-After); events wait."],
  open: ["Suspended", "bad", "Too many attempts failed, so nothing is posted for a while; events wait."],
  half_open: ["Probing", "warn", "The pause is over, and single events are tried to see whether the receiver is back."],
  disabled: ["Disabled", "bad", "Nothing is posted until somebody enables it; events wait."],
  pending: ["Awaiting consent", "warn", "The receiver has not agreed yet; events wait."],
};

export const endpointBadge = (state) => {
  const [label, tone, meaning] = ENDPOINT_STATES[state] ?? ["Unknown", "quiet", ""];
  return badge(label, tone, meaning);
};
