/** Shows over the picture how fast and how late it is: a line of figures, and on demand all of them with the transport's reasons. */

import { h, say, show } from "../../dom.js";
import { bytes, milliseconds, number } from "../../format.js";

const DROPS = { late: "late", superseded: "replaced by a newer one", decoder: "left out by the decoder", broken: "unreadable", slow: "viewer too slow" };
// What the camera's actor counts.
const LOSSES = { late: "late", bad: "unreadable", encoder: "passed over by the encoder", broker: "not taken by NATS" };
const ROWS = [
  ["capture", "Capture"], ["encode", "Encode"], ["delivered", "Delivered"], ["painted", "Painted"], ["dropped", "Dropped"],
  ["source", "Lost at source"], ["flow", "Bytes"], ["latency", "Latency"], ["transport", "Transport"], ["rung", "Rung"], ["passed", "Not used"],
];

const rate = (value) => (Number.isFinite(value) ? `${number(value, value < 10 ? 1 : 0)} fps` : "");

/** `{ late: 2, broken: 0 }` → `2 late`; a number is itself. */
export function drops(dropped, words = DROPS) {
  if (Number.isFinite(dropped)) return dropped ? number(dropped) : "none";
  if (!dropped || typeof dropped !== "object") return "";
  const some = Object.entries(dropped).filter(([, count]) => count > 0);
  return some.length ? some.map(([reason, count]) => `${number(count)} ${words[reason] ?? reason.replaceAll("_", " ")}`).join(", ") : "none";
}

const reasonOf = { asked: "as asked", slow: "moved down, this viewer is too slow", recovered: "moved up again" };

/** `{ p50, p99 }` in ms as a text, empty where nothing was measured. */
const shares = ({ p50, p99 } = {}) => (Number.isFinite(p50) ? `${milliseconds(p50)} (p50)${Number.isFinite(p99) ? `, ${milliseconds(p99)} (p99)` : ""}` : "");

/** All rows as texts; an empty one is not shown. */
export function texts({ statistics = {} }, { state, stats, header }) {
  const latency = shares(stats.latency);
  return {
    capture: rate(statistics.capture_fps ?? header?.fps ?? statistics.fps),
    encode: shares(statistics.rungs?.[state.rung]?.encode_ms),
    delivered: rate(stats.receivedFps),
    painted: rate(stats.fps),
    dropped: drops(stats.dropped),
    source: drops(statistics.drops ?? statistics.dropped, LOSSES),
    flow: `${bytes(stats.bytesPerSecond)}/s`,
    latency: latency && `${latency}, from capture to paint`,
    transport: state.label,
    rung: [state.rung, reasonOf[state.why]].filter(Boolean).join(", "),
    passed: state.passed.map(({ label, reason }) => `${label}: ${reason}`).join("; "),
  };
}

/** Makes both; `tell(device, player)` sets them, `toggle()` shows or hides the full list and says whether it is shown. */
export function figures() {
  const line = Object.fromEntries(["size", "fps", "latency", "flow", "by", "zoom"].map((name) => [name, h("span")]));
  const short = h("div.figures", { "aria-hidden": "true" }, Object.values(line));
  const places = Object.fromEntries(ROWS.map(([name]) => [name, h("dd")]));
  const all = h("dl.all-figures", { hidden: true, tabindex: "-1", "aria-label": "Figures" }, ROWS.map(([name, label]) => h("div", {}, h("dt", {}, label), places[name])));

  const tell = (device, player, zoom) => {
    const { header, stats, state } = player;
    show(short, Boolean(header));
    if (!header) return;
    const flows = stats.receivedFps > 0;
    const { p50 } = stats.latency;
    say(line.size, `${player.canvas.width} × ${player.canvas.height}`);
    say(line.fps, flows ? rate(stats.fps) : "");
    say(line.latency, flows && p50 !== null ? milliseconds(p50) : "");
    say(line.flow, flows ? `${bytes(stats.bytesPerSecond)}/s` : "");
    say(line.by, state.rung.split("-")[0].toUpperCase().replace("H264", "H.264"));
    say(line.zoom, zoom);
    if (all.hidden) return;
    for (const [name, text] of Object.entries(texts(device, player))) {
      say(places[name], text);
      show(places[name].parentElement, Boolean(text));
    }
  };
  const toggle = () => {
    show(all, all.hidden);
    return !all.hidden;
  };
  return { elements: [short, all], tell, toggle };
}
