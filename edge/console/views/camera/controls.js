/** The drawer of a camera's controls: stream, picture, and what its device has. Each value is checked before it is sent. */

import { h, icon, say, show } from "../../dom.js";
import { faultLine, newest } from "../octane/buttons.js";
import { inputFor, labelOf } from "./inputs.js";

const TRANSPORTS = [["auto", "Automatic"], ["webcodecs", "H.264, WebCodecs"], ["mse", "H.264, Media Source"], ["jpeg", "JPEG, WebSocket"], ["mjpeg", "MJPEG"], ["whep", "WebRTC"]];
// What every camera has, beside what its device has.
const RATE = { kind: "number", least: 0.1, most: 240, step: 0.1, unit: "fps" };
const QUALITY = { kind: "number", least: 1, most: 95, step: 1, unit: "" };

function section(title) {
  const fault = faultLine();
  const rows = h("div.rows");
  return { element: h("section", { "aria-label": title }, h("h3", {}, title), rows, fault.element), rows, fault };
}

/** `view` has commands, buttons, id(), prefer(), chooseTransport(name), controlled(answer), draw(tool). Gives the element and `tell(device, player)`. */
export function controls(view) {
  const { commands, buttons } = view;
  const stream = section("Stream");
  const picture = section("Picture");
  const device = section("Device");
  const why = h("p.faint");
  const transport = h("select", { title: "Transport", onchange: () => view.chooseTransport(transport.value) }, TRANSPORTS.map(([value, label]) => h("option", { value }, label)));
  stream.rows.append(h("label.field", {}, h("span", {}, "Transport"), transport), why);

  const inputs = new Map();
  let shape = "";

  // Sends the newest value only, and shows what the camera made of it.
  const row = (place, name, control, command, argumentsOf) => {
    const label = labelOf(name);
    const fault = faultLine();
    const send = newest(async (value) => {
      view.controlled(await commands.give(command, argumentsOf(value), 10));
      fault.clear();
    }, (problem) => {
      fault.tell(label, problem);
      input.reset();
    });
    const input = inputFor(name, control, send, (problem) => fault.tell(label, problem), view);
    inputs.set(name, input);
    place.rows.append(input.element, fault.element);
    for (const part of input.parts) buttons.field(part, command);
  };
  row(picture, "fps", RATE, "set_fps", (fps) => ({ fps }));
  row(picture, "quality", QUALITY, "set_quality", (quality) => ({ quality }));

  const build = (found) => {
    for (const name of [...inputs.keys()]) if (name !== "fps" && name !== "quality") inputs.delete(name);
    device.rows.replaceChildren();
    for (const [name, control] of Object.entries(found)) {
      if (control.kind === "region") row(device, name, control, "set_region", (value) => value);
      else if (control.kind === "button" && name === "auto_exposure") row(device, name, control, "auto_exposure", () => ({}));
      else row(device, name, control, "set_control", (value) => ({ name, value }));
    }
    if (Object.keys(found).length) {
      device.rows.append(h("div.row-of-buttons", {},
        buttons.make({ label: "Set all back", text: "Set all back", quiet: true, command: "reset_controls", fault: device.fault, run: async () => view.controlled(await commands.give("reset_controls")) })));
    }
  };

  const element = h("aside.settings", { "aria-label": "Controls", hidden: true }, h("header.drawer-heading", {}, h("h3", {}, "Controls"),
    h("button.tool", { type: "button", "aria-label": "Close the controls", title: "Close the controls", onclick: () => view.closeControls() }, icon("cross"))),
  stream.element, picture.element, device.element);

  const tell = (camera, player) => {
    transport.value = view.prefer();
    say(why, player ? [player.state.label && `Plays ${player.state.label}.`, ...player.state.passed.map(({ label, reason }) => `Not ${label}: ${reason}.`)].filter(Boolean).join(" ") : "");
    const { controls: told } = camera;
    const found = told?.controls ?? {};
    const now = JSON.stringify([camera.id, Object.entries(found).map(([name, { value: _, ...rest }]) => [name, rest])]);
    if (now !== shape) {
      shape = now;
      build(found);
    }
    inputs.get("fps").tell(told?.fps ?? camera.state_fps ?? camera.fps);
    inputs.get("quality").tell(told?.quality ?? camera.quality);
    for (const [name, { value }] of Object.entries(found)) inputs.get(name)?.tell(value);
    show(device.element, Object.keys(found).length > 0);
  };
  return { element, tell };
}
