/** Shows a camera's picture stream: a canvas, its figures, its tools, and a text where there is none. */

import { h, icon, say, show } from "../dom.js";
import { FrameStream } from "../../client/frames.js";
import { bytes, milliseconds, number } from "../format.js";
import { absence } from "./absence.js";
import { badge, panel, rebadge } from "./panel.js";

const STALE = 5_000;

/**
 * Shows the chosen one of `store[topic]`. `settings`: picture, title, topic, path (of the HTTP surface), silence,
 * empty (title, explanation, command), status(device, stream) → [word, tone], and extra() → what stands below the picture:
 * its element, and what it does with each device, frame (a header) and second (stats).
 */
export function viewport(root, store, client, settings) {
  const { badges, tools, body } = panel(root, settings.picture, settings.title);
  const state = badge("", "quiet");
  const simulated = badge("SIMULATED", "warn", "These pictures are made by a simulator, not by a real device");
  const choice = h("select", { "aria-label": `Which ${settings.title.toLowerCase()}`, onchange: () => choose(choice.value) });
  const still = h("a.tool", { title: "Save a still", "aria-label": "Save a still" }, icon("still"));
  const full = h("button.tool", { type: "button", title: "Full screen", "aria-label": "Full screen", onclick: () => enlarge() }, icon("expand"));
  badges.append(state, simulated);
  tools.append(choice, still, full);

  const canvas = h("canvas", { role: "img", "aria-label": settings.title });
  const figures = h("div.figures", { "aria-hidden": "true" });
  const fps = h("span");
  const latency = h("span");
  const size = h("span");
  const flow = h("span");
  figures.append(fps, latency, size, flow);
  const veil = h("div.veil", {}, h("span"));
  const stage = h("div.stage", {}, canvas, figures, veil);
  const below = settings.extra?.();
  const empty = absence(settings.picture, settings.empty);
  badges.append(empty.badge);
  body.append(...[stage, below?.element, ...empty.elements].filter(Boolean));

  let stream = null;
  let chosen = null;

  const enlarge = () => (document.fullscreenElement ? document.exitFullscreen() : stage.requestFullscreen?.());
  stage.addEventListener("dblclick", enlarge);
  // Who wants tokens wants a ticket in an address.
  const ticket = (id, transport) => client.ticket({ camera: id, transport });
  still.addEventListener("click", async (click) => {
    const download = `${settings.path}-${chosen}-${new Date().toISOString().replaceAll(":", "-")}.jpg`;
    still.download = download;
    if (!client.token) return;
    click.preventDefault();
    const href = `${still.getAttribute("href")}?ticket=${await ticket(chosen, "snapshot")}`;
    h("a", { href, download }).click();
  });

  const choose = (id) => {
    if (id === chosen) return;
    stream?.close();
    chosen = id;
    const address = `/${settings.path}/${encodeURIComponent(id)}`;
    still.href = `${address}/snapshot`;
    stream = new FrameStream(canvas, `${client.base}${address}/ws`, {
      ticket: () => ticket(id, "websocket"),
      now: () => client.clock.now(),
      silence: settings.silence,
      onFrame: (header) => {
        show(simulated, Boolean(header.simulated));
        say(size, `${header.width} × ${header.height}`);
        below?.frame?.(header);
      },
      onStats: tell,
      onPhase: tell,
    });
    stream.start();
    draw();
  };

  const tell = () => {
    const device = store[settings.topic].get(chosen);
    if (!stream || !device) return;
    const { stats, header, lastFrame, phase } = stream;
    say(fps, `${number(stats.fps, stats.fps < 10 ? 1 : 0)} fps`);
    say(latency, milliseconds(stats.latency ?? Number.NaN));
    say(flow, `${bytes(stats.bytesPerSecond)}/s`);
    show(figures, Boolean(header));
    below?.stats?.(stats);
    const stale = phase !== "open" || Date.now() - lastFrame > STALE;
    // The device may be seen and its pictures not: a ticket for them wants more rights than its state.
    const withheld = phase !== "open" && stream.refusal;
    const [word, tone] = withheld ? ["Not shown", "warn"] : settings.status(device, { phase, stale });
    rebadge(state, word, tone);
    stage.classList.toggle("stale", Boolean(header) && stale);
    show(veil, !header);
    say(veil.firstChild, phase === "open" ? "Waiting for the first picture" : phase === "paused" ? "Paused" : withheld ? `No picture is shown: ${withheld.message}` : store.situation(settings.topic)?.kind === "unreachable" ? "No connection" : "Connecting");
    if (!header) show(simulated, Boolean(device.simulated));
  };

  const draw = () => {
    const devices = store[settings.topic];
    const any = devices.size > 0;
    for (const part of [stage, below?.element, state, still, full]) part && show(part, any);
    empty.tell(store.situation(settings.topic), !any);
    show(choice, devices.size > 1);
    if (!any) {
      show(simulated, false);
      return;
    }
    const ids = [...devices.keys()].sort();
    if (ids.join("\n") !== [...choice.options].map((option) => option.value).join("\n")) {
      choice.replaceChildren(...ids.map((id) => h("option", { value: id }, id)));
    }
    if (!devices.has(chosen)) choose(devices.has("main") ? "main" : ids[0]);
    choice.value = chosen;
    below?.device?.(devices.get(chosen));
    tell();
  };
  store.watch(settings.topic, draw);
}
