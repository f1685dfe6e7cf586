/** Shows the event types of a list with how many there are of each, as buttons that narrow it to them. */

import { h, say, show } from "../../dom.js";
import { number } from "../../format.js";

// The most frequent ones; others can be typed.
const SHOWN = 14;

export class Chips {
  #counts = new Map();
  #toggle;
  #drawn = "";

  /** `toggle(type)` is called with the type that somebody chose, "" for all. */
  constructor(toggle) {
    this.#toggle = toggle;
    this.element = h("div.chips", { role: "group", "aria-label": "Show only these types" });
  }

  clear() {
    this.#counts.clear();
  }

  /** Counts entries in; with -1, out again. */
  count(entries, by = 1) {
    for (const { event } of entries) if (event) this.#counts.set(event.event_type, (this.#counts.get(event.event_type) ?? 0) + by);
  }

  tell(wanted, total) {
    const often = [...this.#counts].filter(([, count]) => count > 0).sort((a, b) => b[1] - a[1]).slice(0, SHOWN).map(([type]) => type);
    const names = [...new Set([...wanted, ...often])].sort();
    const drawn = JSON.stringify([names, wanted]);
    if (drawn !== this.#drawn) {
      this.#drawn = drawn;
      const held = document.activeElement?.dataset?.type;
      const chip = (type, label, pressed) => h("button.chip", { type: "button", "aria-pressed": String(pressed), dataset: { type }, onclick: () => this.#toggle(type) }, label, h("span.count"));
      const focused = this.element.contains(document.activeElement);
      this.element.replaceChildren(chip("", "All", !wanted.length), ...names.map((type) => chip(type, type, wanted.includes(type))));
      if (focused) [...this.element.children].find(({ dataset }) => dataset.type === held)?.focus();
    }
    for (const button of this.element.children) {
      const { type } = button.dataset;
      say(button.lastChild, number(type ? this.#counts.get(type) ?? 0 : total));
    }
    show(this.element, names.length > 0);
  }
}
