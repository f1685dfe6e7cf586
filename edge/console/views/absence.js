/** Shows in the place of an empty list what may not be seen, cannot be known, or is not there. */

import { h, icon, lesson, say, show } from "../dom.js";
import { badge, rebadge } from "./panel.js";

/**
 * Makes what an empty view shows. `nothing` (title, explanation, command) is for where there really is nothing.
 * `elements` go into the view's body and `badge` beside its heading; `tell(situation, empty)` sets them.
 */
export function absence(picture, nothing) {
  const learn = lesson(picture, nothing.title, nothing.explanation, nothing.command);
  const title = h("p.lesson-title");
  const text = h("p");
  const why = h("div.lesson.withheld", { hidden: true, role: "status" }, icon("info"), title, text);
  const mark = badge("", "quiet");
  const tell = (situation, empty) => {
    show(learn, empty && !situation);
    show(why, empty && Boolean(situation));
    why.dataset.kind = situation?.kind ?? "";
    say(title, situation?.title);
    say(text, situation?.text);
    show(mark, Boolean(situation));
    if (!situation) return;
    // What is shown from before is no news of now.
    rebadge(mark, situation.kind === "unreachable" && !empty ? "not live" : situation.badge, situation.tone);
    mark.title = [situation.title, situation.text].filter(Boolean).join(". ");
  };
  return { elements: [learn, why], badge: mark, tell };
}
