/** A bar of filters whose values stand in the address, so that a filtered view is a link. */

import { h, icon } from "../dom.js";

// Somebody who types has finished (ms).
const TYPED = 300;

/**
 * `fields` are `{ name, label, kind: "search" | "text" | "time" | "select" | "flag", options, placeholder, wide }`; `changed(values)` is
 * called when one was changed. Returns `{ element, values, set(values), field(name), flush() }`; an empty value is "". `values` are those
 * that were told last, not what is being typed: they are what a list is filtered by. `flush` tells at once what was typed just now: before
 * something is done to what is shown.
 */
export function filterBar(fields, changed) {
  const inputs = new Map();
  let typing = null;
  let told = {};
  const read = () => Object.fromEntries([...inputs].map(([name, input]) => [name, input.type === "checkbox" ? (input.checked ? "1" : "") : input.value.trim()]));
  const tell = () => {
    clearTimeout(typing);
    typing = null;
    // The place was left before the pause that ends typing.
    if (!element.isConnected) return;
    const values = read();
    if (JSON.stringify(values) === JSON.stringify(told)) return;
    told = values;
    changed(values);
  };
  const later = () => {
    clearTimeout(typing);
    typing = setTimeout(tell, TYPED);
  };
  const made = fields.map((field) => control(field, inputs, tell, later));
  const element = h("form.filters", { role: "search", onsubmit: (submit) => { submit.preventDefault(); tell(); } }, ...made);
  const set = (values) => {
    const kept = {};
    for (const [name, input] of inputs) {
      const value = values[name] ?? "";
      if (input.type === "checkbox") input.checked = Boolean(value);
      else if (document.activeElement !== input || !typing) input.value = value;
      // What is being typed stays, and is told when that has ended.
      else kept[name] = value;
    }
    told = { ...read(), ...kept };
  };
  told = read();
  const flush = () => typing && tell();
  return { element, set, flush, field: (name) => inputs.get(name), get values() { return { ...told }; } };
}

function control(field, inputs, tell, later) {
  const { name, label, kind = "text", options = [], placeholder = label, wide = false } = field;
  if (kind === "select") {
    const input = h("select", { name, "aria-label": label, title: label, onchange: tell }, ...options.map(([value, text]) => h("option", { value }, text)));
    inputs.set(name, input);
    return input;
  }
  if (kind === "flag") {
    const input = h("input", { type: "checkbox", name, onchange: tell });
    inputs.set(name, input);
    return h("label.flag", {}, input, h("span", {}, label));
  }
  if (kind === "time") {
    const input = h("input", { type: "datetime-local", name, step: 1, "aria-label": label, title: label, onchange: tell });
    inputs.set(name, input);
    return h("label.time-field", {}, h("span", {}, label), input);
  }
  const search = kind === "search";
  const input = h("input", { type: search ? "search" : "text", name, placeholder, "aria-label": label, title: label, autocomplete: "off", spellcheck: "false", oninput: later });
  inputs.set(name, input);
  return h(wide ? "label.search.wide" : "label.search", {}, icon(search ? "search" : "sliders"), input);
}
