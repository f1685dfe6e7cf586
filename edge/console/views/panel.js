/** Makes the heading of a panel, the same for all. */

import { h, icon } from "../dom.js";

/** Fills `root` with a heading and a body, and returns the places for badges, tools and content. */
export function panel(root, picture, title) {
  const badges = h("div.badges");
  const tools = h("div.tools");
  const body = h("div.body");
  root.append(
    h("div.heading", {}, icon(picture), h("h2", { id: `${root.id}-title` }, title), badges, tools),
    body,
  );
  return { badges, tools, body };
}

/** A short label in a colour that means something: ok, warn, bad, info, quiet. */
export function badge(text, tone = "quiet", title = null) {
  return h(`span.badge.${tone}`, { title }, text);
}

/** Sets a badge's text and tone in place. */
export function rebadge(element, text, tone) {
  if (element.textContent !== text) element.textContent = text;
  const wanted = `badge ${tone}`;
  if (element.className !== wanted) element.className = wanted;
}
