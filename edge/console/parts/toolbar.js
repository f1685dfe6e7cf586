/** Makes the heading of a place: its title, badges beside it, and tools at the right. */

import { h, icon } from "../dom.js";

/** Returns `{ element, title, badges, tools }`; `back` is an address that a link above the title leads to. */
export function heading(picture, title, { back = null, tools = [] } = {}) {
  const name = h("h2", {}, title);
  const parts = { title: name, badges: h("div.badges"), tools: h("div.tools", {}, ...tools) };
  const link = back && h("a.back", { href: back.href }, icon("back"), back.label);
  return { ...parts, element: h("div.place-heading", {}, link, h("div.line", {}, icon(picture), name, parts.badges, parts.tools)) };
}

/** A button of a toolbar; without `label` shown it is named by its title. */
export function tool(label, picture, onclick, { wide = false, pressed = null } = {}) {
  const button = h(wide ? "button.tool.wide" : "button.tool", { type: "button", title: label, "aria-label": label, onclick }, icon(picture), wide && h("span", {}, label));
  if (pressed !== null) button.setAttribute("aria-pressed", String(pressed));
  return button;
}
