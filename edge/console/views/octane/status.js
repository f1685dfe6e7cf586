/** Shows the progress of a render: samples, speed, times, size, devices. */

import { h, meter, say, show } from "../../dom.js";
import { bytes, duration, number, percent } from "../../format.js";

const FACTS = [["speed", "Speed"], ["elapsed", "Elapsed"], ["remaining", "Remaining"], ["size", "Size"], ["gpu", "GPU"], ["vram", "VRAM"]];

/** `RTX 4090`, or `2 × RTX 4090`, or the names one after the other. */
function gpus(devices) {
  const counts = new Map();
  for (const { name } of devices) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].map(([name, count]) => (count > 1 ? `${count} × ${name}` : name)).join(", ");
}

const total = (devices, field) => devices.reduce((sum, device) => sum + (Number(device[field]) || 0), 0);

/** The texts of the status line. Speed and remaining time are those of a render that goes on; else they would be of the past. */
export function figures(statistics, runs) {
  const devices = Array.isArray(statistics.devices) ? statistics.devices : [];
  const left = statistics.estimated_render_time - statistics.render_time;
  const whole = total(devices, "total_memory");
  return {
    speed: runs && statistics.samples_per_second > 0 ? `${number(statistics.samples_per_second / 1e6, 2)} Ms/s` : "–",
    elapsed: duration(statistics.render_time),
    remaining: statistics.state === "finished" ? "done" : runs && Number.isFinite(left) ? duration(Math.max(0, left)) : "–",
    size: statistics.width ? `${statistics.width} × ${statistics.height}` : "–",
    gpu: gpus(devices),
    vram: whole ? `${bytes(total(devices, "used_memory"))} of ${bytes(whole)}` : "",
  };
}

/** Makes the status line; `tell(statistics, runs, { header, region })` sets it: `runs` says whether the render goes on as far as anybody knows. */
export function statusLine() {
  const bar = meter("Render progress");
  const samples = h("strong");
  const most = h("span.faint");
  const part = h("span.part");
  const places = Object.fromEntries(FACTS.map(([name]) => [name, h("dd")]));
  const element = h("div.progress", {},
    h("div.line", {}, h("span", {}, samples, most), part),
    bar.element,
    h("dl.numbers", {}, FACTS.map(([name, label]) => h("div", { dataset: { fact: name } }, h("dt", {}, label), places[name]))));

  const tell = (statistics, runs, { header = null, region = null } = {}) => {
    // In a region other samples grow than in the picture.
    const inside = region && statistics.region_samples > 0 ? { samples: statistics.region_samples, progress: null } : null;
    // A picture says how many samples are in it, fresher than the statistics.
    const fresh = !inside && runs && Number.isFinite(header?.samples) && header.samples > (statistics.samples ?? 0);
    const now = { ...statistics, ...inside, ...(fresh && { samples: header.samples, progress: null }) };
    const done = now.progress ?? (now.max_samples ? now.samples / now.max_samples : null);
    bar.element.dataset.state = now.state ?? "";
    bar.set(Number.isFinite(done) ? done : 0);
    say(samples, number(now.samples));
    say(most, `${now.max_samples ? ` / ${number(now.max_samples)}` : ""} samples${inside ? " in the region" : ""}`);
    say(part, percent(done));
    for (const [name, text] of Object.entries(figures(now, runs))) {
      say(places[name], text);
      show(places[name].parentElement, Boolean(text));
      if (name === "gpu") places[name].title = text;
    }
  };
  return { element, tell };
}
