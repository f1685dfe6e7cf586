/** Shows a value as JSON: pretty with colours or raw, with a button that copies it. Text nodes only. */

import { copyButton, h, say } from "../dom.js";
import { number } from "../format.js";

const LIMIT = 40_000;
const PIECES = /("(?:\\.|[^"\\])*")(\s*:)?|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\b(?:true|false|null)\b/g;

/** JSON text as text nodes and spans of keys, strings and numbers. */
export function coloured(text) {
  const cut = text.length > LIMIT ? `${text.slice(0, LIMIT)}\n… ${number(text.length - LIMIT)} more characters` : text;
  const parts = [];
  let from = 0;
  for (const found of cut.matchAll(PIECES)) {
    parts.push(cut.slice(from, found.index));
    const kind = found[1] ? (found[2] ? "key" : "string") : "number";
    parts.push(h(`span.${kind}`, {}, found[1] ?? found[0]), found[2] ?? "");
    from = found.index + found[0].length;
  }
  return [...parts, cut.slice(from)];
}

/** `label` names it for screen readers; `more` are further buttons beside those of the view. */
export function jsonView(value, { label = "JSON", more = [] } = {}) {
  const body = h("pre.json", { tabindex: 0, "aria-label": label });
  const switcher = h("button.quiet", { type: "button", "aria-pressed": "false", onclick: () => show(!raw) }, h("span", {}, "Raw"));
  let raw = false;
  const show = (wish) => {
    raw = wish;
    switcher.setAttribute("aria-pressed", String(raw));
    if (raw) say(body, JSON.stringify(value) ?? "");
    else body.replaceChildren(...coloured(JSON.stringify(value, null, 2) ?? ""));
  };
  show(false);
  return h("div.json-view", {}, body, h("div.row-of-buttons", {}, switcher, copyButton("Copy JSON", () => JSON.stringify(value, null, 2)), ...more));
}
