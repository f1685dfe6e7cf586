/** Heads the list: how many events it has, how many come a second, and the button that pauses it. */

import { h, icon, say, show } from "../../dom.js";
import { number, short } from "../../format.js";

/** `pause()` is called when the button was pressed. Returns `{ badge, tools, tell({ paused, held, count, live, rate }) }`. */
export function head(pause) {
  const badge = h("span.badge.quiet");
  const speed = h("span.rate.faint", { title: "Events a second, of those that this list asks for" });
  const hold = h("button.tool.wide", { type: "button", title: "Press p to pause", onclick: pause });
  let said = null;
  const tell = ({ paused, held, count, live, rate }) => {
    if (said !== paused) {
      said = paused;
      hold.setAttribute("aria-pressed", String(paused));
      hold.replaceChildren(icon(paused ? "play" : "pause"), h("span", {}, paused ? "Resume" : "Pause"));
    }
    say(badge, paused ? `paused, ${number(held)} waiting` : live ? `${number(count)} loaded` : `${number(count)} of the past`);
    show(badge, count > 0 || paused);
    say(speed, live ? `${short(rate)}/s` : "");
  };
  return { badge, tools: [speed, hold], tell };
}
