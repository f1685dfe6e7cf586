// Draws the fields of a JSON Schema, and code with a button that copies it.

import { h } from "../dom.js";

/** The schema that a reference leads to, or the schema itself. */
export function resolve(made, schema) {
  let found = schema;
  while (found?.$ref) found = found.$ref.slice(2).split("/").reduce((at, part) => at?.[part], made);
  return found ?? {};
}

/** The fields of an object, those inside it one level deep. */
export function fieldList(made, schema, depth = 0) {
  const fields = Object.entries(schema.properties ?? {});
  if (!fields.length) return h("p.faint", {}, "Any fields.");
  const required = new Set(schema.required ?? []);
  return h("dl.fields", {}, fields.flatMap(([name, field]) => [
    h("dt", {}, h("code", {}, name), required.has(name) && h("span.required", {}, "required")),
    h("dd", {},
      h("span.kind", {}, kindOf(made, field)),
      field.description && h("span", {}, " ", prose(field.description)),
      inside(made, field, depth)),
  ]));
}

function inside(made, field, depth) {
  const found = [field, field.items, ...(field.anyOf ?? [])].map((each) => resolve(made, each)).find((each) => each.properties);
  return depth < 1 && found ? fieldList(made, found, depth + 1) : null;
}

function kindOf(made, field) {
  if ("const" in field) return JSON.stringify(field.const);
  if (field.enum) return field.enum.map((each) => JSON.stringify(each)).join(" | ");
  if (field.$ref) return kindOf(made, resolve(made, field));
  const several = field.anyOf ?? field.oneOf;
  if (several && !field.properties) return several.map((each) => kindOf(made, each)).join(" | ");
  if (field.type === "array") return field.items ? `list of ${kindOf(made, field.items)}` : "list";
  const kind = [field.type ?? "anything"].flat().join(" | ");
  const limits = [
    field.minimum !== undefined && `≥ ${field.minimum}`,
    field.maximum !== undefined && `≤ ${field.maximum}`,
    field.maxLength !== undefined && `≤ ${field.maxLength} characters`,
    field.format,
  ].filter(Boolean);
  return limits.length ? `${kind} (${limits.join(", ")})` : kind;
}

/** Text whose parts between backticks are code. */
export function prose(text) {
  return (text ?? "").split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part));
}

/** A block of code that can be copied. */
export function code(text, language) {
  const copy = h("button.copy", { type: "button", "aria-label": `Copy ${language}`, onclick: () => copied(copy, text) }, "Copy");
  return h("div.code", {}, h("pre", { tabindex: "0", "aria-label": language, role: "region" }, text), copy);
}

async function copied(button, text) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}
