/** The page's top bar: the name, what finds anything, and how this page is connected. */

import { copyButton, h, icon, say, show } from "../dom.js";
import { milliseconds, number } from "../format.js";
import { handover } from "../handover.js";
import { WANTS_TOKEN } from "../standing.js";

// (ms)
const BRIEF = 1_500;
const NAMES = { websocket: "WebSocket", sse: "SSE", polling: "Long poll" };
const PHASES = {
  idle: ["Starting", "warn"],
  connecting: ["Connecting", "warn"],
  live: ["Live", "ok"],
  waiting: ["Reconnecting", "warn"],
  offline: ["Offline", "bad"],
  paused: ["Paused", "quiet"],
  refused: ["Refused", "bad"],
  ended: ["Ended", "quiet"],
  closed: ["Closed", "quiet"],
};

/** `find()` opens the palette, `signOut()` forgets the token, `now()` says how the connection stands: see banner.js. Returns what draws it anew. */
export function barView(root, store, client, { find, signOut, now }) {
  let liveAt = 0;
  const phase = h("span.phase", { role: "status" });
  const detail = h("span.detail");
  const facts = h("dl.facts");
  const retry = h("button.quiet", { type: "button", onclick: () => (client.state.phase === "closed" ? client.start() : client.retry()) }, "Reconnect now");
  const leave = h("button.quiet", { type: "button", hidden: true, onclick: signOut }, "Sign out");
  const hand = handover(client);
  const drop = h("div.drop", { id: "connection", hidden: true, role: "region", "aria-label": "Connection" },
    facts,
    h("div.row-of-buttons", {},
      copyButton("Copy as curl", () => `curl -N ${client.token ? '-H "Authorization: Bearer $CALLBOARD_TOKEN" ' : ""}'${client.base}/callbacks/sessions/${client.state.session ?? ""}/sse?cursor=${client.cursor ?? "now"}'`),
      retry, hand.button, leave),
    hand.element);
  const pill = h("button.pill", {
    type: "button",
    "aria-expanded": "false",
    "aria-controls": "connection",
    onclick: () => open(drop.hidden),
  }, h("span.lamp"), phase, detail);
  const open = (visible) => {
    show(drop, visible);
    pill.setAttribute("aria-expanded", String(visible));
    if (visible) tell();
  };
  document.addEventListener("click", ({ target }) => !drop.hidden && !drop.contains(target) && !pill.contains(target) && open(false));
  document.addEventListener("keydown", ({ key }) => key === "Escape" && !drop.hidden && (open(false), pill.focus()));

  const logo = h("img.logo", { src: "/console/favicon.svg", alt: "", width: 26, height: 26 });
  root.append(
    h("h1.brand", {}, h("a", { href: "/", "aria-label": "Callboard" }, logo, h("span.word", {}, "Callboard"))),
    h("button.find", { type: "button", title: "Find anything (Ctrl-K or /)", onclick: find }, icon("search"), h("span.word", {}, "Find anything"), h("kbd", { "aria-hidden": "true" }, "Ctrl K")),
    h("div.connection", {}, pill, drop));

  const fact = (name, value) => [h("dt", {}, name), h("dd", {}, value)];
  const tell = () => {
    const { state, stats, clock } = client;
    facts.replaceChildren(...[
      fact("Session", state.session ?? "none"),
      fact("Token", store.rights ? (store.rights.id ? `${store.rights.id.replace(/^- /, "")} reads ${store.rights.read.join(", ") || "nothing"}` : "none needed") : "not known"),
      fact("Cursor", client.cursor ?? "none"),
      fact("Transport", NAMES[state.transport] ?? "none"),
      fact("Latency, birth to page", milliseconds(client.latency ?? Number.NaN)),
      fact("Events received", number(stats.events)),
      fact("Connections so far", number(stats.connections)),
      fact("Gaps", number(stats.gaps)),
      fact("Server clock", Math.abs(clock.offset) < 1 ? "same as here" : `${clock.offset > 0 ? "+" : "−"}${milliseconds(Math.abs(clock.offset))}`),
      state.reason ? fact("Last problem", state.reason) : [],
    ].flat());
  };
  const draw = () => {
    const { state } = client;
    show(leave, Boolean(client.token));
    hand.tell(Boolean(client.token));
    const { kind } = now();
    if (state.phase === "live") liveAt = Date.now();
    // The connection is opened anew when more is asked for; that takes a moment, and is no news.
    if (kind === "connecting" && !state.reason && Date.now() - liveAt < BRIEF) return;
    const signedOut = state.phase === "refused" && WANTS_TOKEN.has(state.code);
    const [word, tone] = signedOut ? ["Signed out", "quiet"] : kind === "silent" ? ["Offline", "bad"] : kind === "draining" ? ["Restarting", "warn"] : PHASES[state.phase];
    pill.dataset.tone = tone;
    say(phase, word);
    const wait = state.retryAt ? `in ${Math.max(0, Math.ceil((state.retryAt - Date.now()) / 1000))} s` : "";
    const live = [NAMES[state.transport], client.latency === null ? null : milliseconds(client.latency)].filter(Boolean).join(" · ");
    say(detail, kind === "live" ? live : wait);
    if (!drop.hidden) tell();
  };
  client.onState(draw);
  setInterval(() => !document.hidden && draw(), 1_000);
  return draw;
}
