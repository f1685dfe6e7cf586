/** Says how an endpoint is: its state, why, since when and until when, and what waits. */

import { h, say } from "../../dom.js";
import { clock, duration, number } from "../../format.js";
import { time } from "../../parts/time.js";
import { ENDPOINT_STATES, endpointBadge } from "../sessions/state.js";

const times = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

/** Why an endpoint is disabled, where that is one of the server's own words. */
const DISABLED = {
  operator: "somebody disabled it",
  gone: "the receiver answered 410 Gone",
  failing: "it failed for too long without a success",
  halted: "a delivery used up its retries, and the order forbids to go on",
  asked: "the receiver asked for it",
};
/** Of the other states the reason is how the last attempt went: "timeout", or "server_error (HTTP 503)". */
const reasonOf = ({ state, reason }) => (state === "disabled" ? DISABLED[reason] ?? reason : `the last attempt failed with ${String(reason).replaceAll("_", " ")}`);

function sentenceOf(health, name, now) {
  const meaning = ENDPOINT_STATES[name]?.[2] ?? "";
  const why = health.reason && name !== "closed" ? `Why: ${reasonOf(health)}.` : "";
  const until = health.until && Date.parse(health.until) > now ? `It is tried again in ${duration((Date.parse(health.until) - now) / 1000)}, at ${clock(health.until).slice(0, 8)}.` : "";
  return [meaning, why, until].filter(Boolean).join(" ");
}

/** Returns `{ element, set(health), tick() }`. */
export function healthView(now) {
  const badgePlace = h("span");
  const said = h("span.sentence");
  const since = h("span.faint");
  const why = h("p.why");
  const element = h("section.health.quiet", { "aria-label": "Health" }, badgePlace, said, since, why);
  let health = null;
  const tick = () => {
    if (!health) return;
    const name = health.active ? health.state : "pending";
    say(said, sentenceOf(health, name, now()));
  };
  return {
    element, tick,
    set(next) {
      const before = health;
      health = next;
      const name = health.active ? health.state : "pending";
      const [, tone] = ENDPOINT_STATES[name] ?? ["", "quiet"];
      element.className = `health ${tone}`;
      element.dataset.state = name;
      if (before?.state !== health.state || before?.active !== health.active) badgePlace.replaceChildren(endpointBadge(name));
      since.replaceChildren(...(health.since && name !== "closed" ? ["since ", time(health.since)] : []));
      const facts = [
        health.failures ? `${times(health.failures, "attempt")} failed in a row` : "",
        health.failing_since ? `failing since ${clock(health.failing_since).slice(0, 8)}` : "",
        health.waiting_events ? `${times(health.waiting_events, "event")} ${health.waiting_events === 1 ? "waits" : "wait"} in the store` : "",
        health.parked ? `${times(health.parked, "delivery", "deliveries")} parked, the oldest for ${duration(health.oldest_parked_seconds)}` : "",
        health.trips ? `suspended ${times(health.trips, "time")} so far` : "",
        health.rate ? `at most ${number(health.rate, health.rate < 10 ? 1 : 0)} posts a second` : "",
        health.partition_owned ? "" : "no server works its queue just now; that takes a second or two after a restart",
      ].filter(Boolean);
      say(why, facts.length ? `${facts.join(" · ")}.` : "Nothing waits, nothing fails.");
      tick();
    },
  };
}
