/** Shows how many dead letters there are by reason, and how full their store is. */

import { h, icon, meter, say, show } from "../../dom.js";
import { bytes, number } from "../../format.js";
import { badge, rebadge } from "../../views/panel.js";
import { explained } from "./reasons.js";

const NEARLY_FULL = 0.8;

/** `chosen(reason)` is called when one was pressed. Returns `{ total, full, reasons, set(summary, reason) }`: a badge, a warning, buttons. */
export function counts(chosen) {
  const total = badge("");
  const reasons = h("div.chips.reasons", { role: "group", "aria-label": "By reason", hidden: true });
  const bar = meter("How full the store of dead letters is");
  const said = h("span");
  const full = h("p.fullness", { hidden: true }, icon("alert"), said, bar.element);
  const chips = new Map();

  const chip = (reason) => {
    if (!chips.has(reason)) {
      const count = h("span.count");
      chips.set(reason, { count, element: h("button.chip", { type: "button", dataset: { reason }, title: explained(reason).text, onclick: () => chosen(reason) }, explained(reason).title, count) });
    }
    return chips.get(reason);
  };
  const set = ({ total: all, by_reason: by, fullness, bytes: size, max_bytes: room, oldest }, wanted) => {
    rebadge(total, all ? `${number(all)} kept` : "none", all ? "warn" : "ok");
    total.title = [`${bytes(size)}${room ? ` of ${bytes(room)}` : ""}`, oldest && `the oldest of ${new Date(oldest).toLocaleString()}`].filter(Boolean).join(", ");
    show(full, fullness >= NEARLY_FULL);
    bar.set(fullness);
    say(said, `The store of dead letters is ${Math.floor(fullness * 100)} % full; when it is full the oldest are dropped. Send some again, or delete some.`);
    const counted = Object.entries(by);
    if (wanted && !by[wanted]) counted.push([wanted, 0]);
    const shown = counted.map(([reason, count]) => {
      const { element, count: cell } = chip(reason);
      say(cell, number(count));
      element.setAttribute("aria-pressed", String(reason === wanted));
      return element;
    });
    if (shown.length !== reasons.childElementCount || shown.some((each, at) => reasons.children[at] !== each)) {
      const held = document.activeElement;
      reasons.replaceChildren(...shown);
      if (reasons.contains(held)) held.focus();
    }
    for (const [reason, { element }] of chips) if (!shown.includes(element)) chips.delete(reason);
    show(reasons, shown.length > 0);
  };
  return { total, full, reasons, set };
}
