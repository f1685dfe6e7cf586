/** The buttons under a camera's picture: size, framing, region, still, record, figures. */

import { h, say, show } from "../../dom.js";
import { clock, duration } from "../../format.js";
import { faultLine } from "../octane/buttons.js";
import { momentOf } from "./condition.js";
import { saveStill } from "./saving.js";

const SIZES = [["", "Full size"], ["720", "720 lines"], ["480", "480 lines"], ["240", "240 lines"]];
// How long a note stays (ms).
const SHOWN = 6_000;

/** The recording that goes on, with `since` or `began`; null without one. */
export function runningOf({ recording }) {
  return recording && (recording.status ?? "recording") === "recording" ? recording : null;
}

/**
 * `view` has commands, buttons, client, framing, id(), tool(), choose(tool), zoom(factor), ask(height), figures(). Gives the element, the line for
 * refusals, a line for notes, `act(name)` for keys, and `tell(device, now)`.
 */
export function cameraToolbar(view) {
  const { commands, buttons, framing } = view;
  const fault = faultLine();
  const note = h("p.note-line", { role: "status", hidden: true });
  let timer = null;
  const mention = (text) => {
    say(note, text);
    show(note, true);
    clearTimeout(timer);
    timer = setTimeout(() => show(note, false), SHOWN);
  };
  const make = (label, picture, run, command = null) => buttons.make({ label, picture, run, command, fault });
  const group = (label, ...parts) => h("div.group", { role: "group", "aria-label": label }, parts);

  let recording = false;
  const format = h("select", { "aria-label": "Format of stills", title: "Format of stills" }, h("option", { value: "jpg" }, "JPEG"), h("option", { value: "png" }, "PNG"));
  const still = make("Save a still", "still", async () => {
    const captured = await saveStill(view.client, view.id(), format.value);
    mention(`Saved the picture of ${clock(captured)}`);
  });
  const record = make("Record", "record", async () => {
    await commands.give(recording ? "stop_recording" : "start_recording");
    view.recorded();
  }, "start_recording");
  const running = h("span.running", { hidden: true });
  const region = make("Region of interest: drag a rectangle", "region", () => view.choose(view.tool() === "region" ? "hand" : "region"), "set_region");
  const figures = make("Figures", "chip", () => press(figures, view.figures()));
  const fit = make("Fit the picture", "fit", () => framing.fit());
  const actual = buttons.make({ label: "1:1, one pixel to one", text: "1:1", run: () => framing.actual(), fault });
  const size = h("select", { "aria-label": "Size that is sent", title: "Size that is sent to this page", onchange: () => view.ask(size.value ? Number(size.value) : null) },
    SIZES.map(([value, label]) => h("option", { value }, label)));

  const element = h("div.toolbar", { role: "toolbar", "aria-label": "Camera" },
    group("Keep", record, running, still, format),
    group("Picture", make("Zoom out", "minus", () => view.zoom(0.8)), make("Zoom in", "plus", () => view.zoom(1.25)), fit, actual),
    group("Tools", region),
    group("Stream", size, figures));

  const press = (button, pressed) => button.setAttribute("aria-pressed", String(Boolean(pressed)));
  const tell = (device, now) => {
    const told = runningOf(device);
    // One that somebody asked for takes the place of the continuous recording, which need not be stopped first.
    const continuous = Boolean(told?.continuous);
    recording = told !== null && !continuous;
    record.become(recording ? { label: "Stop recording", picture: "stop", command: "stop_recording" } : { label: continuous ? "Record, and keep it" : "Record", picture: "record", command: "start_recording" });
    press(record, recording);
    show(running, told !== null);
    const since = momentOf(told?.since ?? told?.began);
    if (told) say(running, [continuous && "always", since === null ? !continuous && "recording" : duration(Math.max(0, now - since) / 1_000)].filter(Boolean).join(" "));
    running.title = continuous ? "The camera records always. A recording that is started here takes its place, and is never overwritten." : "";
    press(region, view.tool() === "region");
    press(fit, framing.fitted);
  };
  framing.watch(() => press(fit, framing.fitted));
  press(figures, false);

  const keys = { still, record, region, fit, actual, figures };
  return { element, fault, note, mention, act: (name) => !keys[name].hidden && keys[name].click(), tell };
}
