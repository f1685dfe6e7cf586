// Draws an event type: its fields, its example, its address on NATS, and the newest event that is stored.

import { h } from "../dom.js";
import { code, fieldList, prose, resolve } from "./fields.js";

/** The card of one type; `latest` asks for its newest event. */
export function typeCard(made, type, latest) {
  const data = resolve(made, type.message.payload.allOf[1].properties.data);
  const shown = h("div", { "aria-live": "polite" });
  const button = h("button", { type: "button", onclick: () => show(type, latest, button, shown) }, "Show the newest");
  return h("article.card", { id: `type-${type.name}` },
    h("h3", {}, type.name),
    h("p", {}, prose(type.message.summary)),
    h("p.address", {}, h("span.way", {}, "nats"), h("code", {}, type.channel.address)),
    h("h4", {}, "Data"),
    fieldList(made, data),
    example("As readers are sent it", type.message),
    example("As it is published", type.publish),
    h("p.actions", {}, button),
    shown);
}

function example(title, message) {
  const found = message.examples?.[0];
  return found && h("details", {}, h("summary", {}, title), code(JSON.stringify(found.payload, null, 2), "JSON"));
}

async function show(type, latest, button, shown) {
  button.disabled = true;
  try {
    const event = await latest(type);
    shown.replaceChildren(event ? code(JSON.stringify(event, null, 2), "JSON") : h("p.faint", {}, "None is stored."));
  } catch (fault) {
    shown.replaceChildren(h("p.bad", {}, fault.message));
  } finally {
    button.disabled = false;
  }
}
