/** Lists what mouse, touch and keys do on a picture. */

import { h } from "../../dom.js";

const LISTS = [
  ["Camera", [
    ["Left drag, or one finger", "orbit"],
    ["Right drag, Shift + drag, or two fingers", "pan"],
    ["Wheel, or pinch", "dolly"],
    ["Arrows", "orbit"],
    ["Shift + arrows", "pan"],
    ["+  and  −", "dolly in and out"],
    ["U", "undo the last move"],
    ["Home", "reset the camera"],
  ]],
  ["Picture", [
    ["Ctrl + wheel, or pinch on a trackpad", "zoom"],
    ["Ctrl + drag", "move"],
    ["Ctrl + arrows, Ctrl + plus and minus", "move and zoom"],
    ["0", "fit"],
    ["1", "one to one"],
    ["F, or double click", "full screen"],
    ["L", "large view"],
  ]],
  ["Tools", [
    ["C", "camera"],
    ["H", "hand: drag and pinch act on the picture"],
    ["R", "render region: drag a rectangle"],
    ["M", "film region: drag what alone is rendered"],
    ["P", "pick: click, or arrows and Enter"],
    ["Space", "start or pause"],
    ["Escape", "back to the camera, leave the large view"],
    ["?", "this list"],
  ]],
];
const NOTE = "Keys act where the picture has the focus. A wheel acts on a page that scrolls once the picture was clicked.";

/** A dialog that lists what hands and keys do: `[title, [[keys, what they do], …]]` for each column, and a note. */
export function help(lists = LISTS, note = NOTE) {
  const dialog = h("dialog.help", { "aria-label": "Mouse, touch and keys" });
  const close = h("button.quiet", { type: "button", onclick: () => dialog.close() }, "Close");
  dialog.append(
    h("header", {}, h("h2", {}, "Mouse, touch and keys"), close),
    h("div.columns", {}, lists.map(([title, rows]) => h("section", {},
      h("h3", {}, title),
      h("dl", {}, rows.map(([keys, does]) => h("div", {}, h("dt", {}, keys), h("dd", {}, does))))))),
    h("p.faint", {}, note));
  // A click beside it closes it.
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  return { element: dialog, open: () => dialog.showModal() };
}
