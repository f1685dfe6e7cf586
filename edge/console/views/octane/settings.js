/** The drawer of an Octane's settings: render, tonemap, background, region, saving on its computer. */

import { h, say, show } from "../../dom.js";
import { number } from "../../format.js";
import { faultLine, newest } from "./buttons.js";
import { VIEWS } from "./toolbar.js";

const CHOICES = [
  ["Priority", "set_priority", "priority", [["low", "Low"], ["normal", "Normal"], ["high", "High"]]],
  ["Sub-sampling", "set_sub_sampling", "mode", [["none", "None"], ["2x2", "2 × 2"], ["4x4", "4 × 4"]], "sub_sampling"],
  ["Clay", "set_clay_mode", "mode", [["none", "Off"], ["grey", "Grey"], ["colour", "Colour"]], "clay_mode"],
];
const SLIDERS = [["Exposure", "exposure", 0.01, 10, 0.01, 1], ["Gamma", "gamma", 0.1, 4, 0.01, 1]];
export const BACKGROUNDS = [["black", "Black"], ["white", "White"], ["checker", "Checker"]];
const EDGES = ["left", "top", "right", "bottom"];
// Where the server does not list them.
const FORMATS = ["png8", "png16", "exr16", "exr32", "tiff8", "tiff16", "jpeg"];

const heading = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const options = (values) => values.map(([value, label]) => h("option", { value }, label));
const field = (label, ...parts) => h("label.field", {}, h("span", {}, label), parts);
const idle = (input) => document.activeElement !== input;

const hex = (rgb) => `#${rgb.map((part) => Math.round(Math.min(1, Math.max(0, part)) * 255).toString(16).padStart(2, "0")).join("")}`;
const parts = (colour) => [1, 3, 5].map((at) => Number((Number.parseInt(colour.slice(at, at + 2), 16) / 255).toFixed(4)));

/** A titled part of the drawer with a line for its refusals. */
function section(title, build) {
  const fault = faultLine();
  return h("section", { "aria-label": title }, h("h3", {}, title), build(fault), fault.element);
}

function renderPart({ commands, buttons }, updates) {
  return section("Render", (fault) => CHOICES.map(([label, command, argument, values, shown = argument]) => {
    const choice = h("select", { title: label }, options(values));
    choice.addEventListener("change", () => {
      commands.give(command, { [argument]: choice.value }).then(fault.clear, (problem) => {
        fault.tell(label, problem);
        update(latest);
      });
    });
    let latest = {};
    const update = (controls) => {
      latest = controls;
      if (controls[shown] !== undefined && controls[shown] !== null) choice.value = controls[shown];
    };
    updates.push(update);
    const row = field(label, choice);
    buttons.field(choice, command);
    return row;
  }));
}

function tonemapPart({ commands, buttons }, updates) {
  return section("Tonemap", (fault) => {
    const rows = SLIDERS.map(([label, name, least, most, step, neutral]) => {
      const value = h("output");
      const slider = h("input", { type: "range", min: least, max: most, step, value: neutral, title: label });
      const send = newest((next) => commands.give("set_tonemap", { [name]: next }).then(fault.clear), (problem) => fault.tell(label, problem));
      slider.addEventListener("input", () => {
        say(value, number(Number(slider.value), 2));
        send(Number(slider.value));
      });
      updates.push(({ tonemap }) => {
        if (!Number.isFinite(tonemap?.[name]) || !idle(slider)) return;
        slider.value = tonemap[name];
        say(value, number(tonemap[name], 2));
      });
      const row = field(label, slider, value);
      buttons.field(slider, "set_tonemap");
      return row;
    });
    const white = h("input", { type: "color", value: "#ffffff", title: "White balance" });
    const balance = newest((rgb) => commands.give("set_tonemap", { white_balance: rgb }).then(fault.clear), (problem) => fault.tell("White balance", problem));
    white.addEventListener("input", () => balance(parts(white.value)));
    updates.push(({ tonemap }) => {
      if (Array.isArray(tonemap?.white_balance) && idle(white)) white.value = hex(tonemap.white_balance);
    });
    const row = h("div.field", {}, h("span", {}, "White balance"), h("label.bare", { "aria-label": "White balance" }, white),
      buttons.make({ label: "White balance", text: "Neutral", quiet: true, command: "set_tonemap", run: () => commands.give("set_tonemap", { white_balance: [1, 1, 1] }), fault }));
    buttons.field(white, "set_tonemap");
    return [...rows, row];
  });
}

function regionPart({ commands, buttons }, updates) {
  return section("Render region", (fault) => {
    const inputs = EDGES.map((name) => h("input", { type: "number", min: 0, step: 1, inputmode: "numeric", "aria-label": `${heading(name)} edge, pixels`, placeholder: name, title: heading(name) }));
    updates.push(({ region }) => inputs.forEach((input, at) => {
      if (idle(input)) input.value = region ? region[EDGES[at]] : "";
    }));
    const set = async () => {
      const values = inputs.map((input) => input.valueAsNumber);
      if (values.some((value) => !Number.isInteger(value) || value < 0)) throw new Error("a region needs four edges in whole pixels");
      await commands.give("set_region", Object.fromEntries(EDGES.map((name, at) => [name, values[at]])));
    };
    for (const input of inputs) buttons.field(input, "set_region");
    return [
      h("div.edges", {}, inputs),
      h("div.row-of-buttons", {},
        buttons.make({ label: "Set the region", text: "Set", quiet: true, command: "set_region", run: set, fault }),
        buttons.make({ label: "Clear the region", text: "Clear", quiet: true, command: "clear_region", run: () => commands.give("clear_region"), fault })),
    ];
  });
}

function cameraPart({ commands, buttons }) {
  return section("Camera", (fault) => h("div.row-of-buttons", {}, VIEWS.map((name) =>
    buttons.make({ label: `Look from the ${name}`, text: heading(name), quiet: true, command: "preset_camera", run: () => commands.give("preset_camera", { view: name }), fault }))));
}

function savePart({ commands, buttons, pane }, updates) {
  return section("Save on Octane's computer", (fault) => {
    const path = h("input", { type: "text", placeholder: "/renders/shot-12.png", spellcheck: "false", autocomplete: "off", title: "Path on Octane's computer" });
    const format = h("select", { title: "Format" });
    const done = h("p.faint", { role: "status", hidden: true });
    const save = async () => {
      if (!path.value.trim()) throw new Error("give a path on the computer where Octane runs");
      show(done, false);
      const { result } = await commands.give("save_image", { path: path.value.trim(), format: format.value, pass: pane().pass }, 30);
      say(done, `Saved as ${result.path}`);
      show(done, true);
    };
    const learn = () => {
      const names = commands.schema("save_image", "format")?.enum ?? FORMATS;
      if (names.join() === [...format.options].map(({ value }) => value).join()) return;
      const chosen = format.value || FORMATS[0];
      format.replaceChildren(...names.map((name) => h("option", { value: name }, name.toUpperCase().replace(/(\d+)/, " $1 bit"))));
      if (names.includes(chosen)) format.value = chosen;
    };
    updates.push(learn);
    const rows = [field("Path", path), field("Format", format)];
    buttons.field(path, "save_image");
    buttons.field(format, "save_image");
    return [...rows, h("div.row-of-buttons", {}, buttons.make({ label: "Save there", text: "Save there", quiet: true, command: "save_image", run: save, fault })), done];
  });
}

/** `view` has commands, buttons, pane(), background() and paint(background). Gives the element and `tell(device)`. */
export function settings(view) {
  const updates = [];
  const background = h("select", { title: "Background" }, options(BACKGROUNDS));
  background.addEventListener("change", () => view.paint(background.value));
  const element = h("aside.settings", { "aria-label": "Settings", hidden: true },
    renderPart(view, updates),
    tonemapPart(view, updates),
    cameraPart(view),
    h("section", { "aria-label": "Picture" }, h("h3", {}, "Picture"), field("Background", background)),
    regionPart(view, updates),
    savePart(view, updates));
  const tell = (device) => {
    background.value = view.background();
    for (const update of updates) update(device.controls ?? {});
  };
  return { element, tell };
}
