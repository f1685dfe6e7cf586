/** The page's top bar: the name, the rate of the stream, and how this page is connected. */

import { copyButton, h, say, show, sparkline } from "../dom.js";
import { milliseconds, number, short } from "../format.js";
import { WANTS_TOKEN } from "../standing.js";

const NAMES = { websocket: "WebSocket", sse: "SSE", polling: "Long poll" };
const PHASES = {
  idle: ["Starting", "warn"],
  connecting: ["Connecting", "warn"],
  live: ["Live", "ok"],
  waiting: ["Reconnecting", "warn"],
  offline: ["Offline", "bad"],
  paused: ["Paused", "quiet"],
  refused: ["Refused", "bad"],
  closed: ["Closed", "quiet"],
};

export function barView(root, store, client) {
  const rate = h("span.value");
  const spark = sparkline();
  const phase = h("span.phase", { role: "status" });
  const detail = h("span.detail");
  const facts = h("dl.facts");
  const retry = h("button.quiet", { type: "button", onclick: () => (client.state.phase === "closed" ? client.start() : client.retry()) }, "Reconnect now");
  const token = h("input", { type: "password", placeholder: "callboard token", "aria-label": "Token", autocomplete: "off", spellcheck: "false" });
  const proof = h("form.row-of-buttons", { hidden: true, onsubmit: (submit) => { submit.preventDefault(); use(token.value.trim()); } },
    token, h("button.quiet", { type: "submit" }, "Use token"));
  const use = (text) => {
    if (!text) return;
    client.token = text;
    token.value = "";
    sessionStorage.setItem("callboard.token", text);
    client.retry();
  };
  const drop = h("div.drop", { id: "connection", hidden: true, role: "region", "aria-label": "Connection" },
    facts,
    proof,
    h("div.row-of-buttons", {},
      copyButton("Copy as curl", () => `curl -N ${client.token ? '-H "Authorization: Bearer $CALLBOARD_TOKEN" ' : ""}'${client.base}/callbacks/sessions/${client.state.session ?? ""}/sse?cursor=${client.cursor ?? "now"}'`),
      retry));
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
    h("h1.brand", {}, logo, "Callboard"),
    h("div.pulse", { title: "Events a second over the last five seconds; the line is the last minute" }, spark.element, rate, h("span.unit", {}, h("span.long", {}, "events"), "/s")),
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
    const { history, perSecond } = store.rate();
    say(rate, short(perSecond));
    spark.draw(history);
    const { state } = client;
    const [word, tone] = PHASES[state.phase];
    pill.dataset.tone = tone;
    say(phase, word);
    const wait = state.retryAt ? `in ${Math.max(0, Math.ceil((state.retryAt - Date.now()) / 1000))} s` : "";
    const live = [NAMES[state.transport], client.latency === null ? null : milliseconds(client.latency)].filter(Boolean).join(" · ");
    say(detail, state.phase === "live" ? live : wait);
    if (!drop.hidden) tell();
  };
  client.onState(draw);
  // A server that wants a token says so once; the place to give it is then opened.
  client.onState(({ phase: now, code }) => {
    const wanted = now === "refused" && WANTS_TOKEN.has(code);
    if (wanted && proof.hidden) open(true);
    show(proof, wanted);
  });
  setInterval(draw, 1_000);
  store.watch("alerts", () => {
    const firing = [...store.alerts.values()].filter((alert) => !alert.resolved).length;
    document.title = firing ? `(${firing}) Callboard` : store.situation("alerts") ? "(?) Callboard" : "Callboard";
  });
}
