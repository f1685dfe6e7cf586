/** Says above a place that what is shown is not live, since when, and why; and when it is live again. */

import { h, icon, say, show } from "./dom.js";
import { clock } from "./format.js";

// A connection that comes back sooner than this is not worth a word (ms).
const BRIEF = 1_000;
// How long the first connection may take before the page says that it has none (ms).
const FIRST = 3_000;

const titles = { connecting: "Reconnecting", waiting: "Reconnecting", offline: "Offline", paused: "Paused", closed: "Disconnected", draining: "The server is restarting", silent: "Offline" };

/** What the connection is: live, silent (the server does not answer), draining, or the phase of the client. */
export function standing(client, reach, draining) {
  const { phase, reason } = client.state;
  if (phase === "live" && reach.silentSince) return { kind: "silent", since: reach.silentSince, text: "the server does not answer" };
  if (phase === "live") return { kind: "live", since: null, text: "" };
  if (draining && (phase === "connecting" || phase === "waiting")) return { kind: "draining", since: null, text: "it hands its readers on, nothing is lost" };
  return { kind: phase, since: null, text: reason };
}

export function banner(root, client) {
  const title = h("strong");
  const text = h("span");
  const again = h("button.quiet", { type: "button", onclick: () => (client.state.phase === "closed" ? client.start() : client.retry()) }, icon("restart"), h("span", {}, "Try now"));
  root.append(icon("alert"), title, text, again);
  let lost = null;
  let seen = false;
  const opened = Date.now();

  return (now) => {
    if (now.kind === "live") {
      seen = true;
      lost = null;
      return show(root, false);
    }
    // The login view says it.
    if ((!seen && Date.now() - opened < FIRST) || now.kind === "refused" || now.kind === "idle") return show(root, false);
    lost ??= now.since ?? Date.now();
    const brief = (now.kind === "connecting" || now.kind === "waiting") && Date.now() - lost < BRIEF;
    if (brief) return;
    const wait = client.state.retryAt ? Math.max(0, Math.ceil((client.state.retryAt - Date.now()) / 1000)) : 0;
    root.dataset.kind = now.kind;
    say(title, !seen && now.kind !== "offline" ? "Not connected yet" : titles[now.kind] ?? "Not live");
    say(text, `${now.text ? `${now.text}. ` : ""}${seen ? `What is shown is from ${clock(lost).slice(0, 8)}` : "Nothing on this page is live yet"}${wait ? `; it is tried again in ${wait} s` : ""}.`.replace(/^./, (first) => first.toUpperCase()));
    show(again, now.kind !== "paused");
    show(root, true);
  };
}
