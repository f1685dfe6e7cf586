/** Chooses event types from cards of the catalogue: what each means, what becomes of its events, and an example. */

import { h, icon, say, show } from "../../dom.js";
import { coloured } from "../../parts/json.js";

// Those of the callback guide, in its order.
const FIRST = ["thinking", "tool_use", "tool_result", "progress", "completion", "error", "workflow_start", "workflow_step", "workflow_complete", "model_selection", "streaming_chunk"];
const ICONS = { thinking: "agent", tool_use: "sliders", tool_result: "check", progress: "clock", completion: "check", error: "alert", workflow_start: "play", workflow_step: "next", workflow_complete: "check", model_selection: "chip", streaming_chunk: "runs" };
const BY_DOMAIN = { camera: "camera", octane: "render", alert: "alert", system: "info", metric: "stream", job: "job", agent: "agent", thread: "thread" };
const CLASSES = { log: "every one, in order", latest: "only the newest may arrive", append: "pieces of one text", ephemeral: "not kept" };

/** One entry for a name: the first domain's declaration stands for it, and `domains` says where it is used. */
export function gathered(types) {
  const found = new Map();
  for (const type of types) {
    const known = found.get(type.name);
    if (known) known.domains.push(type.domain);
    else found.set(type.name, { ...type, domains: [type.domain] });
  }
  const place = ({ name }) => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length);
  return [...found.values()].sort((a, b) => place(a) - place(b) || a.name.localeCompare(b.name));
}

/** Returns `{ element, value, set(names), load(types), failed(text), fault(text) }`; the value is a list of names, null for all. */
export function typePicker(changed = () => {}) {
  const chosen = new Set();
  const search = h("input", { type: "search", "aria-label": "Find an event type", placeholder: "Find an event type …", oninput: () => draw() });
  const summary = h("span.faint", { role: "status" });
  const none = h("button.quiet", { type: "button", onclick: () => { chosen.clear(); draw(); changed(); } }, "Take all");
  const cards = h("div.type-cards", { role: "group", "aria-label": "Event types" });
  const more = h("button.quiet", { type: "button", onclick: () => { all = true; draw(); } });
  const other = h("input", { type: "text", "aria-label": "Another event type", placeholder: "type_of_your_own", spellcheck: "false", autocomplete: "off" });
  const said = h("span.field-fault", { role: "alert", hidden: true });
  const add = () => {
    const name = other.value.trim();
    if (!name) return;
    chosen.add(name);
    other.value = "";
    draw();
    changed();
  };
  other.addEventListener("keydown", (press) => {
    if (press.key !== "Enter") return;
    press.preventDefault();
    add();
  });
  let types = [];
  let all = false;
  const made = new Map();

  const card = (type) => {
    if (made.has(type.name)) return made.get(type.name);
    const input = h("input", { type: "checkbox", name: `type-${type.name}`, onchange: () => { input.checked ? chosen.add(type.name) : chosen.delete(type.name); draw(); changed(); } });
    const example = type.data?.examples?.[0];
    const element = h("div.type-card", {},
      h("label", {}, input, icon(ICONS[type.name] ?? BY_DOMAIN[type.domain] ?? "stream"),
        h("span.name", {}, type.name), h("span.summary", {}, type.summary ?? "A type of your own."),
        type.delivery && h("span.about", {}, [type.domains.filter(Boolean).join(", "), CLASSES[type.delivery]].filter(Boolean).join(" · "))),
      example && h("details", {}, h("summary", {}, "Example"), h("pre", { tabindex: 0, "aria-label": `Example of ${type.name}` }, ...coloured(JSON.stringify(example, null, 2)))));
    made.set(type.name, { element, input });
    return made.get(type.name);
  };
  const draw = () => {
    const text = search.value.trim().toLowerCase();
    const known = new Set(types.map(({ name }) => name));
    const listed = [...types, ...[...chosen].filter((name) => !known.has(name)).map((name) => ({ name, domains: [] }))];
    const fitting = listed.filter((type) => !text || `${type.name} ${type.summary ?? ""} ${type.domains.join(" ")}`.toLowerCase().includes(text));
    const shown = fitting.filter((type, at) => all || text || at < FIRST.length || chosen.has(type.name));
    const elements = shown.map((type) => {
      const { element, input } = card(type);
      input.checked = chosen.has(type.name);
      return element;
    });
    if (elements.length !== cards.children.length || elements.some((each, at) => each !== cards.children[at])) cards.replaceChildren(...elements);
    show(more, shown.length < fitting.length);
    say(more, `Show ${fitting.length - shown.length} more types`);
    show(none, chosen.size > 0);
    say(summary, chosen.size ? `${chosen.size} chosen: ${[...chosen].join(", ")}` : "None is chosen, so all types are delivered.");
  };
  draw();
  return {
    name: "events",
    element: h("div.types", {},
      h("div.type-bar", {}, h("label.search", {}, icon("search"), search), none, summary),
      cards, h("div.row-of-buttons", {}, more, h("span.other-type", {}, other, h("button.quiet", { type: "button", onclick: add }, icon("plus"), h("span", {}, "Add a type")))), said),
    get value() {
      return chosen.size ? [...chosen] : null;
    },
    set(names) {
      chosen.clear();
      for (const name of names ?? []) chosen.add(name);
      draw();
    },
    load(list) {
      types = gathered(list);
      // Those that were chosen before the catalogue was known have cards without its words.
      made.clear();
      draw();
    },
    failed: (text) => cards.replaceChildren(h("p.faint", {}, text)),
    fault(text) {
      say(said, text);
      show(said, Boolean(text));
    },
  };
}
