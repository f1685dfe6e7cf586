/** The place of the alerts, and of the rules that raise them: `…/alerts/<id>`, `…/alerts/rules/<name>`. */

import { list } from "./alerts/list.js";
import { one } from "./alerts/one.js";
import { allRules, rule } from "./alerts/rule.js";
import { rules } from "./alerts/rules.js";

// An alert's id has dots in it, so none is one of these words.
function view([first, second]) {
  if (first === "rules") return second ? rule : rules;
  return { "new-rule": rule, "back-test": allRules }[first] ?? (first ? one : list);
}

export default {
  styles: ["/console/parts/details.css", "/console/places/alerts.css"],
  open: (context, params) => view(params.path)(context, params),
};
