/** Shows a run's output line by line, in the colours of a terminal, and follows its end until the reader scrolls up. */

import { h, icon, say, show } from "../../dom.js";
import { clock, moment, number } from "../../format.js";
import { exact } from "../../parts/time.js";
import { ansi, plain } from "./ansi.js";

const KEPT = 3_000;

/** Returns `{ element, add(items), text() }`. */
export function outputView() {
  const lines = h("pre.output.log", { tabindex: 0, role: "log", "aria-live": "off", "aria-label": "Output" });
  const cut = h("p.faint", { hidden: true });
  const jump = h("button.jump", { type: "button", hidden: true, onclick: () => follow() }, icon("down"), h("span", {}, "Follow"));
  const element = h("div.log-view", {}, cut, lines, jump);
  // Each stream of a program has colours of its own.
  const styles = new Map();
  let stuck = true;
  let dropped = 0;

  const foot = () => lines.scrollTop + lines.clientHeight >= lines.scrollHeight - 8;
  const follow = () => {
    stuck = true;
    lines.scrollTop = lines.scrollHeight;
    show(jump, false);
  };
  lines.addEventListener("scroll", () => {
    stuck = foot();
    if (stuck) show(jump, false);
  }, { passive: true });

  const draw = ({ kind, text, stream, at }) => {
    if (kind === "mark") return h("span.row.mark", {}, `${text}, ${clock(moment(at)).slice(0, 8)}\n`);
    if (!styles.has(stream)) styles.set(stream, plain());
    return h("span.row", { dataset: { stream }, title: exact(moment(at)) }, ...ansi(text, styles.get(stream)), "\n");
  };

  return {
    element,
    add(items) {
      if (!items.length) return;
      const skipped = Math.max(0, items.length - KEPT);
      lines.append(...items.slice(skipped).map(draw));
      dropped += skipped;
      while (lines.childElementCount > KEPT) {
        lines.firstElementChild.remove();
        dropped += 1;
      }
      show(cut, dropped > 0);
      say(cut, `${number(dropped)} earlier lines are not shown.`);
      if (stuck) lines.scrollTop = lines.scrollHeight;
      else show(jump, true);
    },
    text: () => lines.textContent,
  };
}
