/** Makes the input of one control of a camera, by its kind, and checks a value before it is sent. */

import { h } from "../../dom.js";
import { SHOWN as REFUSAL_SHOWN } from "../octane/buttons.js";

const NAMES = { fps: "Frame rate", quality: "JPEG quality", auto_exposure: "Auto-exposure once", region: "Region", size: "Size", gain: "Gain", gamma: "Gamma", exposure: "Exposure" };
const EDGES = ["left", "top", "width", "height"];
const MILLI = 1_000;

export const labelOf = (name) => NAMES[name] ?? name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " ");

/** A number as a person reads it: no tail of a float. */
export const plain = (value) => (Number.isFinite(value) ? String(Number(value.toPrecision(6))) : "");

/** Seconds are shown as milliseconds where they are that short. */
const scaleOf = ({ unit, most }) => (unit === "s" && Number.isFinite(most) && most <= 10 ? { unit: "ms", factor: MILLI } : { unit: unit ?? "", factor: 1 });

/** What is wrong with a number, in words; null where nothing is. Bounds are in the control's own unit. */
export function faultOf(value, { least, most, step, unit = "" }, factor = 1) {
  const shown = (bound) => plain(bound * factor);
  if (!Number.isFinite(value)) return "it needs a number";
  if ((Number.isFinite(least) && value < least) || (Number.isFinite(most) && value > most)) return `it must be from ${shown(least)} to ${shown(most)}${unit && ` ${unit}`}`;
  if (Number.isInteger(step) && step > 0 && Number.isInteger(least ?? 0) && (value - (least ?? 0)) % step) return step === 1 ? "it must be a whole number" : `it must be ${shown(least ?? 0)} and steps of ${step} more`;
  return null;
}

const idle = (input) => document.activeElement !== input;
const field = (label, ...parts) => h("label.field", {}, h("span", {}, label), parts);

function numberInput(label, control, send, refuse) {
  const { unit, factor } = scaleOf(control);
  const bounds = [control.least, control.most].every(Number.isFinite);
  const text = h("input", { type: "number", inputmode: "decimal", title: label, "aria-label": unit ? `${label}, ${unit}` : label, step: "any" });
  const slider = bounds && h("input", { type: "range", min: 0, max: 1000, step: 1, tabindex: "-1", "aria-hidden": "true" });
  let told = Number.NaN;
  // Wide ranges, such as exposures of 0.1 ms to 1 s, are spread by their logarithm.
  const wide = bounds && control.least > 0 && control.most / control.least > 200;
  const part = (value) => (wide ? Math.log(value / control.least) / Math.log(control.most / control.least) : (value - control.least) / (control.most - control.least || 1));
  const valueAt = (at) => {
    const value = wide ? control.least * (control.most / control.least) ** at : control.least + (control.most - control.least) * at;
    const step = control.step > 0 ? control.step : 0;
    return Math.min(control.most, Math.max(control.least, step ? control.least + Math.round((value - control.least) / step) * step : Number(value.toPrecision(3))));
  };
  // What was refused stands until it is mended, or for as long as the reason does.
  let refused = null;
  const settle = () => {
    clearTimeout(refused);
    refused = null;
    text.setAttribute("aria-invalid", "false");
  };
  const put = (value) => {
    if (idle(text) && refused === null) text.value = plain(value * factor);
    if (slider && idle(slider)) slider.value = Math.round(part(value) * 1000);
  };
  const commit = (value) => {
    const fault = faultOf(value, { ...control, unit }, factor);
    settle();
    if (!fault) {
      send(value);
      return;
    }
    text.setAttribute("aria-invalid", "true");
    refused = setTimeout(reset, REFUSAL_SHOWN);
    refuse(new Error(fault));
  };
  text.addEventListener("change", () => commit(text.value.trim() === "" ? Number.NaN : Number((text.valueAsNumber / factor).toPrecision(9))));
  slider?.addEventListener("input", () => {
    const value = valueAt(slider.valueAsNumber / 1000);
    text.value = plain(value * factor);
    commit(value);
  });
  const tell = (value) => {
    told = value;
    if (Number.isFinite(value)) put(value);
  };
  const reset = () => {
    settle();
    if (Number.isFinite(told)) text.value = plain(told * factor);
    if (slider && Number.isFinite(told)) slider.value = Math.round(part(told) * 1000);
  };
  return { element: h("div.field.number", {}, h("span", {}, label, unit && h("span.unit", {}, ` ${unit}`)), slider || null, text), parts: [text, slider].filter(Boolean), tell, reset };
}

function switchInput(label, send) {
  const box = h("input", { type: "checkbox", role: "switch", title: label });
  let told = false;
  box.addEventListener("change", () => send(box.checked));
  return { element: field(label, box), parts: [box], tell: (value) => { told = Boolean(value); box.checked = told; }, reset: () => { box.checked = told; } };
}

const keyOf = (value) => (value && typeof value === "object" ? `${value.width} × ${value.height}` : String(value));

function choiceInput(label, choices, send) {
  const values = new Map(choices.map((value) => [keyOf(value), value]));
  const list = h("select", { title: label }, [...values.keys()].map((key) => h("option", { value: key }, key)));
  let told = null;
  list.addEventListener("change", () => send(values.get(list.value)));
  const put = () => { if (told !== null && values.has(keyOf(told))) list.value = keyOf(told); };
  return { element: field(label, list), parts: [list], tell: (value) => { told = value ?? null; if (idle(list)) put(); }, reset: put };
}

function buttonInput(label, send) {
  const button = h("button.quiet", { type: "button", onclick: () => send(true) }, label);
  return { element: h("div.field.action", {}, button), parts: [button], tell() {}, reset() {} };
}

/** Several whole numbers that belong together: a region, or a size. */
function numbersInput(label, names, control, send, refuse, more = []) {
  const inputs = names.map((name) => h("input", { type: "number", inputmode: "numeric", min: control.least?.[name] ?? 0, max: control.most?.[name], step: 1, "aria-label": `${label}: ${name}, pixels`}));
  let told = null;
  const put = (force) => inputs.forEach((input, at) => { if (told && (force || idle(input))) input.value = told[names[at]]; });
  const set = () => {
    const value = Object.fromEntries(names.map((name, at) => [name, inputs[at].value.trim() === "" ? Number.NaN : inputs[at].valueAsNumber]));
    for (const [at, name] of names.entries()) {
      const whole = Number.isInteger(value[name]) && value[name] >= 0 ? null : "it needs whole numbers of pixels";
      const fault = whole ?? faultOf(value[name], { least: control.least?.[name], most: control.most?.[name] });
      inputs[at].setAttribute("aria-invalid", String(Boolean(fault)));
      if (fault) {
        refuse(new Error(whole ?? `${name}: ${fault}`));
        return;
      }
    }
    send(value);
  };
  const button = h("button.quiet", { type: "button", onclick: set }, "Set");
  return {
    element: h("div.numbers-field", { role: "group", "aria-label": label }, h("span", {}, label), h("div.edges", {}, inputs.map((input, at) => h("label", {}, h("span", {}, names[at]), input))), h("div.row-of-buttons", {}, button, more)),
    parts: [...inputs, button, ...more],
    tell: (value) => { told = value ?? null; put(false); },
    reset: () => put(true),
  };
}

/** `{ element, parts, tell(value), reset() }`. `send(value)` gets what was checked, `refuse(error)` why a value is not sent. */
export function inputFor(name, control, send, refuse, view) {
  const label = labelOf(name);
  switch (control.kind) {
    case "switch": return switchInput(label, send);
    case "choice": return choiceInput(label, control.choices ?? [], send);
    case "button": return buttonInput(label, send);
    case "size":
      return Array.isArray(control.choices) && control.choices.length ? choiceInput(label, control.choices, send) : numbersInput(label, ["width", "height"], control, send, refuse);
    case "region": {
      const draw = h("button.quiet", { type: "button", onclick: () => view.draw() }, "Draw");
      const clear = h("button.quiet", { type: "button", onclick: () => view.clearRegion() }, "Clear");
      return numbersInput(label, EDGES, control, send, refuse, [draw, clear]);
    }
    default: return numberInput(label, control, send, refuse);
  }
}
