/** Shows the live render and its progress. */

import { h, meter, say, show } from "../dom.js";
import { duration, number, percent } from "../format.js";
import { viewport } from "./viewport.js";

const WORDS = {
  rendering: ["Rendering", "info"],
  finished: ["Finished", "ok"],
  paused: ["Paused", "quiet"],
  stopped: ["Stopped", "quiet"],
  waiting: ["Waiting", "warn"],
};

const TROUBLE = {
  absent: ["Absent", "bad"],
  refused: ["Refused", "bad"],
  busy: ["Busy", "warn"],
  unreadable: ["Unreadable picture", "bad"],
  stale: ["Stale picture", "warn"],
};

/** What is wrong with an Octane or its picture, and why: `[word, tone, reason]`, or null. */
export function trouble(device) {
  for (const [name, reason] of [[device.status, device.reason], [device.picture, device.picture_reason]]) {
    if (TROUBLE[name]) return [...TROUBLE[name], reason ?? ""];
  }
  return device.callback_slot === "contested"
    ? ["Contested", "warn", "another program takes the notifications of new images again and again; pictures are fetched without them"]
    : null;
}

/** Samples, speed and time of one render. */
function progress() {
  const bar = meter("Render progress");
  const samples = h("strong");
  const most = h("span.faint");
  const part = h("span.part");
  const facts = Object.fromEntries(["speed", "elapsed", "remaining"].map((name) => [name, h("dd")]));
  const wrong = h("p.wrong", { role: "status" });
  const element = h("div.progress", {},
    wrong,
    h("div.line", {}, h("span", {}, samples, most), part),
    bar.element,
    h("dl.numbers", {},
      h("div", {}, h("dt", {}, "Speed"), facts.speed),
      h("div", {}, h("dt", {}, "Elapsed"), facts.elapsed),
      h("div", {}, h("dt", {}, "Remaining"), facts.remaining)));
  let newest = 0;

  const draw = (now) => {
    const done = now.progress ?? (now.max_samples ? now.samples / now.max_samples : null);
    bar.set(done);
    say(samples, number(now.samples));
    say(most, now.max_samples ? ` / ${number(now.max_samples)} samples` : " samples");
    say(part, percent(done));
    say(facts.elapsed, duration(now.render_time));
    say(facts.speed, now.samples_per_second === undefined ? "–" : `${number(now.samples_per_second / 1e6, 2)} Ms/s`);
    const left = now.estimated_render_time - now.render_time;
    say(facts.remaining, now.state === "finished" ? "done" : Number.isFinite(left) ? duration(Math.max(0, left)) : "–");
  };
  let device = {};
  return {
    element,
    device: (latest) => {
      device = latest;
      const [word, , reason] = trouble(device) ?? [""];
      say(wrong, reason ? `${word}: ${reason}` : word);
      show(wrong, Boolean(word));
      if (performance.now() - newest > 1_500) draw(device);
    },
    // A picture says how many samples are in it, fresher than the statistics of once a second.
    frame: (header) => {
      if (!Number.isFinite(header.samples)) return;
      newest = performance.now();
      const { samples, max_samples = device.max_samples, render_time = device.render_time } = header;
      draw({ ...device, samples, max_samples, render_time, progress: max_samples ? samples / max_samples : device.progress });
    },
  };
}

export function renderView(root, store, client) {
  viewport(root, store, client, {
    picture: "render",
    title: "Render",
    topic: "octanes",
    path: "octane",
    // A finished render says nothing for hours, and is well.
    silence: 0,
    empty: {
      title: "No render yet",
      explanation: "Point the octane actor at a running Octane, or try the simulator, which speaks the same wire.",
      command: "callboard simulate octane",
    },
    status: (device, { phase }) => {
      const wrong = trouble(device);
      if (wrong) return wrong.slice(0, 2);
      if (phase === "connecting" || phase === "waiting") return ["Connecting", "warn"];
      return WORDS[device.state] ?? ["Connected", "ok"];
    },
    extra: progress,
  });
}
