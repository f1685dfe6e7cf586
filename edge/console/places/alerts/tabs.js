/** The two halves of the place: the alerts, and the rules that raise them. */

import { h } from "../../dom.js";

export function tabs({ addressOf }, at) {
  const link = (name, label, path) => h("a.tab", { href: addressOf("alerts", path), "aria-current": name === at ? "page" : null }, label);
  return h("nav.tabs", { "aria-label": "Alerts and rules" }, link("alerts", "Alerts", []), link("rules", "Rules", ["rules"]));
}
