/** Finds what is wrong, from what the page knows: what, since when, what to do, and where it is seen. Pure. */

import { moment } from "../../format.js";
import { explained } from "../deadletters/reasons.js";

const RANK = { bad: 0, warn: 1, info: 2 };
// A run that failed is a problem of today for so long (ms).
const FRESH = 24 * 3_600_000;
// A reader so many events behind is worth a word.
const BEHIND = 10_000;
const FULL = 0.8;

const CHECKS = {
  not_draining: ["The edge is shutting down", "Its readers are handed on. If it does not come back, start it again."],
  nats: ["The edge has lost NATS", "Events are neither stored nor delivered. See that nats-server runs and can be reached: callboard doctor."],
  subscriptions: ["NATS refuses subscriptions", "The permissions of the edge's NATS user do not cover its subjects."],
  events: ["The edge checks the event stream", "Readers wait until it is certain that nothing is missing. This ends by itself."],
  sessions: ["The sessions are still being read", "New readers wait a moment."],
  store: ["The store takes no writes", "See which stream below; callboard doctor says more."],
};

/** A problem: `{ tone, title, text, since (ms or null), action: { label, href } | null, key }`. */
const problem = (tone, key, title, text, since = null, action = null) => ({ tone, key, title, text, since, action });

export function ofReadiness(readiness) {
  if (!readiness?.checks) return [];
  const failed = Object.entries(readiness.checks).filter(([, passed]) => !passed).map(([name]) => {
    const [title, text] = CHECKS[name] ?? [`The check “${name}” fails`, "callboard doctor says more."];
    return problem("bad", `check ${name}`, title, text);
  });
  const streams = Object.entries(readiness.store ?? {}).filter(([, each]) => each?.code && each.code !== "ok")
    .map(([stream, { code, text }]) => problem("bad", `stream ${stream}`, `The stream ${stream} takes no writes`, String(text ?? code)));
  return [...failed, ...streams];
}

export function ofAlerts(alerts, addressOf) {
  return [...alerts].filter(({ state }) => state === "firing").map((alert) => problem(
    alert.severity === "critical" ? "bad" : alert.severity === "warning" ? "warn" : "info",
    `alert ${alert.key}`, String(alert.title ?? alert.rule), String(alert.message || `The rule ${alert.rule} is met.`), alert.time,
    { label: "Show the alert", href: addressOf("alerts", alert.alert ? [alert.alert] : []) },
  ));
}

/** Alerts of the rules that come with the system say what another problem here says with more: that one is shown. */
const SAME = {
  run_failed: ({ entity, key }, known) => known.has(`run ${key}`) || [...known].some((each) => each.startsWith("run ") && each.endsWith(`.${entity}`)),
  webhook_dead_letter: (_, known) => known.has("deadletters"),
  webhook_disabled: ({ entity }, known) => known.has(`webhook ${entity}`),
  camera_failed: ({ entity }, known) => known.has(`camera ${entity}`),
  render_failed: ({ entity }, known) => known.has(`octane ${entity}`),
};

/** The alerts without those that say what is among the `problems` already. */
export function unsaid(alerts, problems) {
  const known = new Set(problems.map(({ key }) => key));
  return [...alerts].filter((alert) => !SAME[alert.rule]?.(alert, known));
}

export function ofRuns(runs, now, addressOf) {
  return [...runs].filter(({ status, updated }) => status === "failed" && now - updated < FRESH).sort((a, b) => b.updated - a.updated).slice(0, 5)
    .map((run) => problem("warn", `run ${run.key}`, `${run.name ?? run.run} failed`, String(run.error ?? run.message ?? "It did not say why."), run.updated, { label: "Show the run", href: addressOf("runs", [run.domain, run.run]) }));
}

export function ofCameras(cameras, addressOf) {
  return [...cameras].filter(({ status }) => status === "failed" || status === "gone").map((camera) => problem(
    "warn", `camera ${camera.id}`, `Camera ${camera.id} ${camera.status === "gone" ? "has gone" : "has failed"}`,
    String(camera.error ?? camera.reason ?? (camera.status === "gone" ? "Its actor has ended: start it again." : "It is tried again by itself.")),
    moment(camera.since) || null, { label: "Show the camera", href: addressOf("cameras", [camera.id]) },
  ));
}

export function ofOctanes(octanes, addressOf) {
  return [...octanes].filter(({ failure, state }) => failure || (state && !["connected", "rendering", "idle"].includes(state.status))).map(({ id, failure, state }) => problem(
    "warn", `octane ${id}`, failure ? `The render ${id} has failed` : `Octane ${id} is ${state.status ?? "not connected"}`,
    String(failure?.message ?? failure?.error ?? state?.error ?? state?.message ?? "It is tried again by itself."), failure?.at ?? null,
    { label: "Show the render", href: addressOf("renders", [id]) },
  ));
}

export function ofDeadLetters(summary, placeOf) {
  if (!summary) return [];
  const found = [];
  const why = Object.entries(summary.by_reason ?? {}).sort((a, b) => b[1] - a[1]).slice(0, 3).map(([reason, count]) => `${explained(reason).title} (${count.toLocaleString("en")})`).join(", ");
  if (summary.total) found.push(problem("warn", "deadletters", `${summary.total} ${summary.total === 1 ? "delivery was" : "deliveries were"} given up`, `${why}. Mend the receiver, then send them again.`, moment(summary.oldest) || null, placeOf("deadletters", "Show the dead letters")));
  if (summary.fullness >= FULL) found.push(problem("bad", "deadletters full", "The store of dead letters is nearly full", "When it is full the oldest are dropped. Redrive or purge some."));
  return found;
}

const BREAKER = {
  open: ["is not tried just now", "It failed again and again; it is tried again by itself."],
  half_open: ["is being tried again", "One delivery goes out; where that succeeds the others follow."],
  disabled: ["is disabled", "Its events wait. Enable it when its receiver works."],
  pending: ["waits for its receiver's consent", "It gets no events until its receiver has agreed."],
};

/** `healths` are what `/callbacks/sessions/<id>/health` says, each with the `name` of its session. */
export function ofWebhooks(healths, placeOf) {
  return (healths ?? []).flatMap(({ session_id: id, name, active, state, reason, since, failing_since: failing, waiting_events: waiting, parked }) => {
    const [word, text] = BREAKER[active === false ? "pending" : state] ?? [];
    if (!word) return [];
    const held = (waiting ?? 0) + (parked ?? 0);
    const why = [reason && `${reason}.`, text, held ? `${held.toLocaleString("en")} ${held === 1 ? "event waits" : "events wait"}.` : ""].filter(Boolean).join(" ");
    return [problem("warn", `webhook ${id}`, `The webhook ${name ?? id} ${word}`, why, moment(failing ?? since) || null, placeOf("webhooks", "Show the webhook", [id]))];
  });
}

export function ofStats(stats) {
  if (!stats) return [];
  return stats.lag_events > BEHIND ? [problem("warn", "lag", `A reader is ${stats.lag_events.toLocaleString("en")} events behind`, "It reads from the store at its own speed and loses nothing, unless it falls behind retention.")] : [];
}

/** The gravest first, then the newest. */
export const ranked = (problems) => problems.sort((a, b) => RANK[a.tone] - RANK[b.tone] || (b.since ?? 0) - (a.since ?? 0));
