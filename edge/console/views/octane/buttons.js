/** Makes buttons that give commands: hidden where there is no such command, disabled with the reason, refused in words beside them. */

import { h, icon, say, show } from "../../dom.js";

/** How long a refusal stays on the page (ms): long enough to be read. */
export const SHOWN = 12_000;

/** A line for what went wrong with the buttons above it. */
export function faultLine() {
  const element = h("p.refused", { role: "alert", hidden: true });
  let timer = null;
  const clear = () => {
    clearTimeout(timer);
    show(element, false);
  };
  const tell = (label, fault) => {
    const text = fault.message || String(fault);
    say(element, `${label}: ${text}${/[.!?]$/.test(text) ? "" : "."}`);
    show(element, true);
    clearTimeout(timer);
    timer = setTimeout(clear, SHOWN);
  };
  return { element, tell, clear };
}

/** Keeps a set of controls as the commands behind them allow. */
export class Buttons {
  #commands;
  #all = [];

  constructor(commands) {
    this.#commands = commands;
  }

  /**
   * A button: `{ label, picture, text, command, run, fault }`. `picture` is an icon's name, `text` words to show; `run` what a click
   * does; `fault` the line for a refusal. Without a `command` it is always allowed.
   */
  make({ label, picture = null, text = null, command = null, run, fault, quiet = false }) {
    const element = h(quiet ? "button.quiet" : "button.tool", { type: "button", "aria-label": label }, picture && icon(picture), text && h("span", {}, text));
    const entry = { element, label, command, why: null };
    element.addEventListener("click", () => this.run(entry, run, fault));
    this.#all.push(entry);
    this.#draw(entry);
    return Object.assign(element, { become: (next) => this.#become(entry, next) });
  }

  /** An input, list or form part that needs a command: disabled, with the reason as its title, where that cannot be given. */
  field(element, command) {
    const entry = { element, label: element.title, command, why: null, field: true };
    this.#all.push(entry);
    this.#draw(entry);
    return element;
  }

  /** Runs what a click asks for, and says why it could not be done. */
  async run(entry, run, fault) {
    const { element, label } = entry;
    const why = entry.command && this.#commands.why(entry.command);
    if (why) {
      fault.tell(entry.label, new Error(why));
      return;
    }
    element.setAttribute("aria-busy", "true");
    try {
      await run(element);
      fault.clear();
    } catch (problem) {
      fault.tell(label, problem);
    } finally {
      element.removeAttribute("aria-busy");
    }
  }

  /** Looks again at which commands there are and which may be given. */
  tell() {
    for (const entry of this.#all) this.#draw(entry);
  }

  #become(entry, { label, picture, command }) {
    if (entry.label === label) return;
    Object.assign(entry, { label, command });
    entry.element.setAttribute("aria-label", label);
    entry.element.replaceChildren(icon(picture));
    this.#draw(entry);
  }

  #draw(entry) {
    const { element, label, command, field } = entry;
    const why = command && this.#commands.why(command);
    const title = why ? `${label ? `${label}: ` : ""}${why}` : label;
    if (title && element.title !== title) element.title = title;
    if (field) element.disabled = Boolean(why);
    // A button that cannot be pressed keeps the focus and says why.
    else if (why) element.setAttribute("aria-disabled", "true");
    else element.removeAttribute("aria-disabled");
    if (command) show(field ? element.closest(".field") ?? element : element, this.#commands.offers(command));
  }
}

/** Sends only the newest of many values, one at a time: for sliders. */
export function newest(send, onFault) {
  let waiting = null;
  let sending = false;
  return async (value) => {
    waiting = { value };
    if (sending) return;
    sending = true;
    while (waiting) {
      const { value: next } = waiting;
      waiting = null;
      try {
        await send(next);
      } catch (fault) {
        waiting = null;
        onFault(fault);
      }
    }
    sending = false;
  };
}
