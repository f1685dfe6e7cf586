/** Shows the live camera. */

import { h, say } from "../dom.js";
import { bytes, milliseconds, number } from "../format.js";
import { viewport } from "./viewport.js";

/** What the camera says of itself, beside what this page sees of it. */
function source() {
  const what = h("strong");
  const how = h("span.faint");
  const rate = h("span.part");
  const facts = Object.fromEntries(["jitter", "sent", "viewers", "skipped"].map((name) => [name, h("dd")]));
  const fact = (name, place) => h("div", {}, h("dt", {}, name), place);
  const element = h("div.progress", {},
    h("div.line", {}, h("span", {}, what, how), rate),
    h("dl.numbers", {},
      fact("Jitter", facts.jitter), fact("Sends", facts.sent), fact("Viewers", facts.viewers), fact("Skipped", facts.skipped)));
  return {
    element,
    device: (camera) => {
      say(what, String(camera.source ?? camera.id));
      say(how, Number.isFinite(camera.quality) ? `  quality ${number(camera.quality)}` : "");
      say(rate, Number.isFinite(camera.fps) ? `${number(camera.fps, 1)} fps at the source` : "");
      say(facts.jitter, milliseconds(camera.jitter_ms));
      say(facts.sent, `${bytes(camera.bytes_per_second)}/s`);
      say(facts.viewers, number(camera.viewers));
    },
    stats: ({ dropped }) => say(facts.skipped, number(dropped)),
  };
}

export function cameraView(root, store, client) {
  viewport(root, store, client, {
    picture: "camera",
    title: "Camera",
    topic: "cameras",
    path: "cameras",
    // A camera that is watched sends many pictures a second: ten silent seconds mean that the socket is dead.
    silence: 10_000,
    empty: {
      title: "No camera yet",
      explanation: "A camera appears here as soon as its actor runs. Without hardware it shows a simulated picture, and says so.",
      command: "callboard actor camera",
    },
    extra: source,
    status: (device, { phase, stale }) => {
      if (device.status === "failed") return ["Failed", "bad"];
      if (phase === "paused") return ["Paused", "quiet"];
      if (phase !== "open") return ["Connecting", "warn"];
      return stale ? ["No picture", "warn"] : ["Live", "ok"];
    },
  });
}
