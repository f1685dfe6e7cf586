/** Asks in a dialog: to confirm, or to fill in a form. Escape and a click beside it close it. */

import { h, icon } from "../dom.js";

let count = 0;

/** Opens a dialog with a title and a body of elements; returns `{ element, close(value), closed }`, a promise of the value, null where it was left. */
export function dialog(title, body, { wide = false } = {}) {
  const id = `dialog-${(count += 1)}`;
  let value = null;
  const close = (given = null) => {
    value = given;
    element.close();
  };
  const element = h(`dialog.dialog${wide ? ".wide" : ""}`, { "aria-labelledby": id },
    h("header", {}, h("h2", { id }, title), h("button.tool", { type: "button", "aria-label": "Close", onclick: () => close() }, icon("cross"))),
    h("div.content", {}, body));
  const from = document.activeElement;
  const closed = new Promise((resolve) => {
    element.addEventListener("close", () => {
      element.remove();
      from?.focus?.();
      resolve(value);
    });
  });
  element.addEventListener("click", (click) => click.target === element && close());
  document.body.append(element);
  element.showModal();
  return { element, close, closed };
}

/** Whether somebody wants it: `await confirm("Delete the session?", { text, action: "Delete", danger: true })`. */
export async function confirm(title, { text = "", action = "Continue", danger = false } = {}) {
  const yes = h(danger ? "button.primary.danger" : "button.primary", { type: "button", onclick: () => made.close(true) }, action);
  const no = h("button.quiet", { type: "button", onclick: () => made.close(false) }, "Cancel");
  const made = dialog(title, [text && h("p", {}, text), h("div.row-of-buttons.end", {}, no, yes)].filter(Boolean));
  yes.focus();
  return Boolean(await made.closed);
}
