/** The buttons under the viewport: render, tools, picture, camera, saving. */

import { h, show } from "../../dom.js";
import { copyPicture, savePicture } from "./saving.js";
import { faultLine } from "./buttons.js";

export const VIEWS = ["front", "back", "left", "right", "top", "bottom"];
const PICKS = [["focus", "Focus"], ["material", "Material"], ["white_point", "White point"], ["object", "Object"]];
const TOOLS = [
  ["camera", "Camera: drag to orbit, right drag to pan, wheel to dolly", "orbit", "orbit"],
  ["hand", "Hand: drag and pinch move the picture", "hand", null],
  ["region", "Render region: drag a rectangle", "region", "set_region"],
  ["film", "Film region: drag what alone is rendered, and becomes the whole picture", "film", "set_film_region"],
  ["pick", "Pick a pixel", "pick", "pick"],
];

const heading = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/**
 * `view` has commands, buttons, client, framing, id(), pane(), panes(), tool(), choose(tool), zoom(factor), report(). Gives the element, the
 * line for refusals, `picks()` (what a pick asks for), `act(name)` for keys, and `tell(device)`.
 */
export function toolbar(view) {
  const { commands, buttons, framing } = view;
  const fault = faultLine();
  const give = (name, values) => commands.give(name, values);
  const make = (label, picture, run, command = null) => buttons.make({ label, picture, run, command, fault });
  const group = (label, ...parts) => h("div.group", { role: "group", "aria-label": label }, parts);

  let rendering = false;
  const toggle = () => give(rendering ? "pause" : "start");
  const play = make("Start", "play", toggle, "start");
  const restart = make("Restart from no samples", "restart", () => give("restart"), "restart");
  const stop = make("Stop and free the devices", "stop", () => give("stop"), "stop");

  const tools = new Map(TOOLS.map(([name, label, picture, command]) => [name, make(label, picture, () => view.choose(name), command)]));
  const what = h("select", { "aria-label": "What to pick", title: "What to pick" }, PICKS.map(([value, label]) => h("option", { value }, label)));
  what.addEventListener("change", () => view.choose("pick"));

  const undo = make("Undo the camera's last move", "undo", () => give("undo_camera"), "undo_camera");
  const reset = make("Reset the camera", "home", () => give("reset_camera"), "reset_camera");
  const preset = h("select", { "aria-label": "Look from", title: "Look from" }, h("option", { value: "" }, "View"), VIEWS.map((name) => h("option", { value: name }, heading(name))));
  preset.addEventListener("change", () => {
    const name = preset.value;
    preset.value = "";
    if (name) give("preset_camera", { view: name }).then(fault.clear, (problem) => fault.tell(heading(name), problem));
  });
  buttons.field(preset, "preset_camera");

  const fit = make("Fit the picture", "fit", () => framing.fit());
  const actual = buttons.make({ label: "1:1, one pixel to one", text: "1:1", run: () => framing.actual(), fault });
  const element = h("div.toolbar", { role: "toolbar", "aria-label": "Viewport" },
    group("Render", play, restart, stop),
    group("Tools", ...tools.values(), what),
    group("Camera", undo, reset, preset),
    group("Picture", make("Zoom out", "minus", () => view.zoom(0.8)), make("Zoom in", "plus", () => view.zoom(1.25)), fit, actual),
    group("Keep",
      make("Save as PNG", "save", () => savePicture(view.client, view.id(), view.pane())),
      make("Copy to the clipboard", "copy", () => copyPicture(view.client, view.pane()))),
    group("Statistics", make("GPU statistics", "chip", () => view.report(), "device_statistics")));

  const press = (button, pressed) => button.setAttribute("aria-pressed", String(pressed));
  const tell = (device) => {
    const { render } = device.controls ?? {};
    const state = device.statistics?.state ?? render;
    rendering = state === "rendering" || state === "waiting";
    play.become(rendering ? { label: "Pause", picture: "pause", command: "pause" } : { label: state === "paused" ? "Continue" : "Start", picture: "play", command: "start" });
    for (const [name, button] of tools) press(button, view.tool() === name);
    show(what, view.tool() === "pick");
    press(fit, framing.fitted);
  };
  framing.watch(() => press(fit, framing.fitted));

  const keys = { play, undo, reset, fit, actual, ...Object.fromEntries(tools) };
  return { element, fault, picks: () => ({ what: what.value, label: what.selectedOptions[0].textContent }), act: (name) => keys[name].click(), tell };
}
