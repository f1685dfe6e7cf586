/** Says for a few seconds what became of something that was asked for. */

import { h, icon } from "../dom.js";

const SHOWN = 6_000;
let tray = null;

/** `tone` is ok, info, warn or bad. A fault stays until it is closed. */
export function toast(text, tone = "ok") {
  tray ??= document.body.appendChild(h("div.toasts", { role: "status", "aria-live": "polite" }));
  const close = () => note.remove();
  const note = h(`div.toast.${tone}`, {}, h("span", {}, text), h("button.tool", { type: "button", "aria-label": "Close", onclick: close }, icon("cross")));
  tray.append(note);
  while (tray.childElementCount > 4) tray.firstElementChild.remove();
  if (tone !== "bad") setTimeout(close, SHOWN);
}
