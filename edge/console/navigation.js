/** Shows the places at the left, or at the foot of a phone: the four first, and the others behind "More". */

import { h, icon, say, show } from "./dom.js";
import { PLACES, addressOf } from "./places.js";

// On a phone.
const FIRST = 4;

export function navigation(root, store) {
  const links = new Map();
  const more = h("button.place-link.more", { type: "button", "aria-expanded": "false", "aria-controls": "all-places", onclick: () => open(!root.classList.contains("open")) },
    icon("menu"), h("span.name", {}, "More"));
  const list = h("ul", { id: "all-places" }, ...PLACES.map((place, at) => {
    const mark = h("span.count", { hidden: true });
    const link = h("a.place-link", { href: addressOf(place.name), title: `${place.title} (g ${place.key})`, dataset: { place: place.name } }, icon(place.icon), h("span.name", {}, place.title), mark);
    links.set(place.name, { link, mark });
    return h(at < FIRST ? "li.first" : "li", {}, link);
  }));
  // A page of its own, under another policy.
  list.append(h("li", {}, h("a.place-link", { href: "/docs", title: "API explorer" }, icon("api"), h("span.name", {}, "API"))));
  root.append(list, more);

  const open = (wish) => {
    root.classList.toggle("open", wish);
    more.setAttribute("aria-expanded", String(wish));
  };
  document.addEventListener("click", ({ target }) => !root.contains(target) && open(false));
  root.addEventListener("keydown", (press) => {
    if (press.key === "Escape" && root.classList.contains("open")) {
      open(false);
      more.focus();
    }
    const way = { ArrowDown: 1, ArrowUp: -1 }[press.key];
    const all = [...links.values()].map(({ link }) => link);
    const at = all.indexOf(document.activeElement);
    if (!way || at < 0) return;
    press.preventDefault();
    all[(at + way + all.length) % all.length].focus();
  });

  const firing = () => {
    const count = [...store.alerts.values()].filter((alert) => alert.state === "firing").length;
    const { mark } = links.get("alerts") ?? {};
    if (!mark) return;
    show(mark, count > 0);
    say(mark, String(count));
    mark.title = `${count} firing`;
  };
  store.watch("alerts", firing);

  return {
    /** Says which place is open. */
    at(name) {
      open(false);
      for (const [other, { link }] of links) {
        if (other === name) link.setAttribute("aria-current", "page");
        else link.removeAttribute("aria-current");
      }
    },
  };
}
