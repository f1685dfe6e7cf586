/** The place that a visit begins at: what runs, what is wrong, and how much goes through. */

import { h, icon, say } from "../dom.js";
import { heading } from "../parts/toolbar.js";
import { TERMINAL } from "../store.js";

const TILES = [
  { topic: "runs", title: "Runs", icon: "runs", place: "runs", count: ({ runs }) => [...runs.values()].filter((run) => !TERMINAL.has(run.status)).length, word: "running" },
  { topic: "alerts", title: "Alerts", icon: "alert", place: "alerts", count: ({ alerts }) => [...alerts.values()].filter((alert) => alert.state === "firing").length, word: "firing" },
  { topic: "cameras", title: "Cameras", icon: "camera", place: "cameras", count: ({ cameras }) => cameras.size, word: "known" },
  { topic: "octanes", title: "Renders", icon: "render", place: "renders", count: ({ octanes }) => octanes.size, word: "known" },
];

function tile({ store, addressOf }, { topic, title, icon: picture, place, count, word }) {
  const value = h("span.value");
  const text = h("span.word");
  const element = h("a.tile", { href: addressOf(place), dataset: { tile: topic } }, icon(picture), h("span.name", {}, title), value, text);
  const end = store.watch(topic, () => {
    const situation = store.situation(topic);
    const hidden = situation && situation.kind !== "partial";
    say(value, hidden ? "–" : String(count(store)));
    say(text, hidden ? situation.badge : word);
    element.title = situation?.title ?? "";
  });
  return { element, end };
}

export default {
  open(context) {
    const tiles = TILES.map((each) => tile(context, each));
    const head = heading("home", "Overview");
    const element = h("section.page.overview", { id: "overview" }, head.element, h("div.tiles", {}, ...tiles.map((each) => each.element)));
    return { element, close: () => tiles.forEach(({ end }) => end()) };
  },
};
