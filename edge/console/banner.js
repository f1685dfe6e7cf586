/** Says above a place that what is shown is not live, since when, and why; and when it is live again. */

import { h, icon, say, show } from "./dom.js";
import { clock } from "./format.js";
import { sentence } from "./parts/states.js";

// A connection that comes back sooner than this is not worth a word, nor is a first one that takes a moment (ms).
const BRIEF = 1_000;
const FIRST = 3_000;
// A server that is away for longer than this is not only restarting (ms).
const RESTART = 15_000;

const trying = new Set(["connecting", "waiting"]);
const titles = {
  connecting: "Reconnecting",
  waiting: "Reconnecting",
  offline: "Offline",
  silent: "Offline",
  draining: "The server is restarting",
  refused: "The server refuses this page",
  paused: "Paused",
  closed: "Disconnected",
};

/**
 * What the connection is: `{ kind, since, text }`. `kind` is live, silent (the server does not answer), draining, or the phase of the
 * client. `drainedAt` is when the server said that it restarts (ms since the epoch, 0 where it did not).
 */
export function standing(client, reach, drainedAt) {
  const { phase, reason } = client.state;
  if (trying.has(phase) && Date.now() - drainedAt < RESTART) return { kind: "draining", since: drainedAt, text: "it hands its readers on, nothing is lost" };
  if (reach.silentSince && (trying.has(phase) || phase === "live")) return { kind: "silent", since: reach.silentSince, text: "the server does not answer" };
  if (phase === "live") return { kind: "live", since: null, text: "" };
  return { kind: phase, since: null, text: reason };
}

/** Fills `root`; returns `tell(now, signIn)`: `now` is what `standing` says, `signIn` whether the login view says it instead. */
export function banner(root, client) {
  const title = h("strong");
  const text = h("span");
  const again = h("button.quiet", { type: "button", onclick: () => (client.state.phase === "closed" ? client.start() : client.retry()) }, icon("restart"), h("span", {}, "Try now"));
  root.append(icon("alert"), title, text, again);
  let lost = null;
  let seen = false;

  return (now, signIn) => {
    if (now.kind === "live") {
      seen = true;
      lost = null;
      return show(root, false);
    }
    if (signIn || now.kind === "idle") return show(root, false);
    lost ??= now.since ?? Date.now();
    const brief = trying.has(now.kind) && Date.now() - lost < (seen ? BRIEF : FIRST);
    if (brief) return;
    const wait = client.state.retryAt ? Math.max(0, Math.ceil((client.state.retryAt - Date.now()) / 1000)) : 0;
    const shown = seen ? `What is shown is from ${clock(lost).slice(0, 8)}` : "Nothing on this page is live yet";
    const parts = [now.text, shown, wait && `It is tried again in ${wait} s`];
    root.dataset.kind = now.kind;
    say(title, !seen && trying.has(now.kind) ? "Not connected yet" : (titles[now.kind] ?? "Not live"));
    say(text, parts.filter(Boolean).map(sentence).join(" "));
    show(again, now.kind !== "paused");
    show(root, true);
  };
}
