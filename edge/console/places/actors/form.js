/** Makes a form of the JSON Schema of a command's arguments, and reads the arguments out of it. */

import { h, say } from "../../dom.js";
import { beside, hint, mistake } from "./schema.js";

let count = 0;

const NUMBERS = new Set(["integer", "number"]);
const shown = (value) => (value === undefined || value === null ? "" : typeof value === "object" ? JSON.stringify(value) : String(value));

/** The input of one argument, and how its text becomes a value. Throws SyntaxError for text that is no JSON where it must be. */
function control(id, schema, required) {
  const type = [schema.type].flat()[0];
  if (schema.enum || type === "boolean") {
    const choices = schema.enum ?? [true, false];
    const none = required ? [h("option", { value: "", disabled: true, selected: true }, "Choose …")] : [h("option", { value: "" }, schema.default === undefined || schema.default === null ? "–" : `– (${shown(schema.default)})`)];
    const input = h("select", { id }, ...none, ...choices.map((each, at) => h("option", { value: String(at + 1) }, shown(each))));
    return { input, value: () => choices[Number(input.value) - 1] };
  }
  const placeholder = shown(schema.default);
  if (type === "string" && !schema.anyOf) {
    const input = h("input", { id, type: "text", placeholder, autocomplete: "off", spellcheck: "false" });
    // A text may be empty where it must be given.
    return { input, empty: required, value: (text) => text };
  }
  if (NUMBERS.has(type) && !schema.anyOf) {
    const input = h("input", { id, type: "text", inputmode: "decimal", placeholder, autocomplete: "off" });
    return { input, value: (text) => (/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text.trim()) ? Number(text) : text) };
  }
  const input = h("textarea", { id, rows: 3, placeholder: placeholder || (type === "array" ? "[…]" : "{…}"), spellcheck: "false" });
  return { input, value: (text) => JSON.parse(text) };
}

function field(name, given, root, required) {
  const id = `argument-${(count += 1)}`;
  const { schema } = beside(given, root);
  const { input, value, empty = false } = control(id, schema, required);
  const note = h("p.hint", { id: `${id}-hint` }, hint(given, root));
  const fault = h("p.fault-text", { id: `${id}-wrong`, role: "alert" });
  input.setAttribute("aria-describedby", `${id}-hint ${id}-wrong`);
  if (required) input.setAttribute("aria-required", "true");
  const tell = (text) => {
    say(fault, text ?? "");
    if (text) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  };
  const read = () => {
    if (input.value === "" && !(required && empty)) return required ? { wrong: `${name} must be given` } : {};
    try {
      const found = value(input.value);
      const wrong = mistake(found, given, root, name);
      return wrong ? { wrong } : { value: found };
    } catch {
      return { wrong: `${name} must be JSON` };
    }
  };
  input.addEventListener("change", () => tell(read().wrong));
  const label = h("label", { for: id }, name, required && h("span.needed", { title: "must be given" }, " *"));
  return { name, input, tell, read, element: h("div.field", {}, label, input, note, fault) };
}

/** Returns `{ element, read(), fields }`; `read` gives the arguments, or null after it has said at the fields what is wrong. */
export function argumentsForm(schema) {
  const root = schema ?? { type: "object" };
  const whole = schema ? null : field("arguments", { type: "object", description: "This actor tells no schema of them" }, root, false);
  const required = new Set(root.required ?? []);
  const names = Object.keys(root.properties ?? {}).sort((a, b) => required.has(b) - required.has(a));
  const fields = whole ? [whole] : names.map((name) => field(name, root.properties[name], root, required.has(name)));
  const read = () => {
    const given = fields.map((each) => [each, each.read()]);
    for (const [each, { wrong }] of given) each.tell(wrong);
    const first = given.find(([, { wrong }]) => wrong);
    if (first) {
      first[0].input.focus();
      return null;
    }
    if (whole) return given[0][1].value ?? {};
    return Object.fromEntries(given.filter(([, { value }]) => value !== undefined).map(([{ name }, { value }]) => [name, value]));
  };
  return { element: h("div.fields", {}, ...fields.map(({ element }) => element)), read, fields };
}
