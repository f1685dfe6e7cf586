/** Makes the fields of a form: a label, what it means, and what is wrong with it beside it. */

import { h, icon, say, show } from "../../dom.js";

let count = 0;

/**
 * `{ name, label, hint, kind: "text" | "number" | "area" | "select" | "flag" | "password", options, placeholder, value, min, max, step, wide }`.
 * Returns `{ element, name, label, input, value, set(value), fault(text) }`; the value of an empty field is null, of a flag a boolean.
 */
export function field({ name, label, hint = "", kind = "text", options = [], placeholder = "", value = null, wide = false, ...limits }) {
  const id = `field-${(count += 1)}`;
  const shared = { id, name, "aria-describedby": `${id}-hint ${id}-fault` };
  const input = kind === "select" ? h("select", shared, ...options.map(([each, text]) => h("option", { value: each }, text)))
    : kind === "area" ? h("textarea", { ...shared, placeholder, rows: 2, spellcheck: "false" })
      : kind === "flag" ? h("input", { ...shared, type: "checkbox" })
        : h("input", { ...shared, type: kind, placeholder, autocomplete: "off", spellcheck: "false", step: kind === "number" ? "any" : null, ...limits });
  const said = h("span.field-fault", { id: `${id}-fault`, role: "alert", hidden: true });
  const meaning = h("span.field-hint", { id: `${id}-hint` }, hint);
  const element = kind === "flag"
    ? h("div.field.flag-field", {}, h("label.flag", {}, input, h("span", {}, label)), meaning, said)
    : h(wide ? "div.field.wide" : "div.field", {}, h("label", { for: id }, label), input, meaning, said);
  const made = {
    element, input, name, label,
    get value() {
      if (kind === "flag") return input.checked;
      const text = input.value.trim();
      if (!text) return null;
      return kind === "number" ? Number(text) : text;
    },
    set(next) {
      if (kind === "flag") input.checked = Boolean(next);
      else input.value = next ?? "";
    },
    fault(text) {
      say(said, text);
      show(said, Boolean(text));
      if (text) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    },
  };
  made.set(value);
  return made;
}

/** Rows of a name and a value, as headers are. Returns `{ element, name, value, set(object), fault(text) }`; the value is an object or null. */
export function pairs({ name, label, hint = "", secret = false }) {
  const id = `field-${(count += 1)}`;
  const rows = h("div.pairs");
  const said = h("span.field-fault", { role: "alert", hidden: true });
  const row = (key = "", value = "") => {
    const line = h("div.pair", {},
      h("input", { type: "text", "aria-label": `${label}: name`, placeholder: "Authorization", value: key, spellcheck: "false", autocomplete: "off" }),
      h("input", { type: secret ? "password" : "text", "aria-label": `${label}: value`, placeholder: "value", value, spellcheck: "false", autocomplete: "off" }),
      h("button.tool", { type: "button", "aria-label": "Remove this line", title: "Remove this line", onclick: () => line.remove() }, icon("cross")));
    return line;
  };
  const add = h("button.quiet", { type: "button", onclick: () => {
    const line = row();
    rows.append(line);
    line.firstElementChild.focus();
  } }, icon("plus"), h("span", {}, "Add a header"));
  return {
    name, label,
    element: h("div.field.wide", { role: "group", "aria-labelledby": id }, h("span.label", { id }, label), rows, h("div.row-of-buttons", {}, add), h("span.field-hint", {}, hint), said),
    get value() {
      const given = [...rows.children].map((line) => [...line.querySelectorAll("input")].map((input) => input.value.trim())).filter(([key]) => key);
      return given.length ? Object.fromEntries(given) : null;
    },
    set: (values) => rows.replaceChildren(...Object.entries(values ?? {}).map(([key, value]) => row(key, value))),
    fault(text) {
      say(said, text);
      show(said, Boolean(text));
    },
  };
}

/** A list that is typed with commas or line breaks between its parts; null where it is empty. */
export const listed = (text) => {
  const parts = String(text ?? "").split(/[,\n]/).map((part) => part.trim()).filter(Boolean);
  return parts.length ? parts : null;
};
