/** Shows the stream of events: newest at the foot, filtered by type and text, each one can be opened. */

import { copyButton, h, icon, say, show } from "../dom.js";
import { clock, curl, number, summary } from "../format.js";
import { absence } from "./absence.js";
import { panel } from "./panel.js";

// Rows in the page; the store keeps more to search in.
const ROWS = 500;
// Rows may take this part of the page's time: under a flood they come in fewer, larger gulps, and the socket is read on.
const SHARE = 0.2;
const PRETTY_LIMIT = 20_000;

/** JSON as spans of keys, strings and numbers; text nodes only. */
function pretty(value) {
  const text = JSON.stringify(value, null, 2) ?? "";
  const cut = text.length > PRETTY_LIMIT ? `${text.slice(0, PRETTY_LIMIT)}\n… ${number(text.length - PRETTY_LIMIT)} more characters` : text;
  const parts = [];
  let from = 0;
  for (const found of cut.matchAll(/("(?:\\.|[^"\\])*")(\s*:)?|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\b(?:true|false|null)\b/g)) {
    parts.push(cut.slice(from, found.index));
    const kind = found[1] ? (found[2] ? "key" : "string") : "number";
    parts.push(h(`span.${kind}`, {}, found[1] ?? found[0]), found[2] ?? "");
    from = found.index + found[0].length;
  }
  return [...parts, cut.slice(from)];
}

export function streamView(root, store, client) {
  const { badges, tools, body } = panel(root, "stream", "Events");
  const total = h("span.badge.quiet");
  badges.append(total);
  const search = h("input", { type: "search", placeholder: "Search events", "aria-label": "Search events", oninput: () => refilter() });
  const caption = h("span");
  const hold = h("button.tool.wide", { type: "button", "aria-pressed": "false", title: "Press p to pause", onclick: () => pause(!paused) });
  tools.append(h("label.search", {}, icon("search"), search), hold);
  const chips = h("div.chips", { role: "group", "aria-label": "Show only these types" });
  const list = h("ol.events", { "aria-label": "Events, oldest first" });
  const jump = h("button.jump", { type: "button", hidden: true, onclick: () => follow() }, icon("down"), caption);
  const empty = absence("stream", {
    title: "No event has come yet",
    explanation: "Publish one and see it arrive, here and at every other subscriber.",
    command: `curl -X POST ${client.base}/events -H 'Content-Type: application/json' -d '{"subject":"agent.hello.progress","type":"progress","data":{"progress":0.5,"message":"Hello"}}'`,
  });
  badges.append(empty.badge);
  const none = h("div.nothing", { hidden: true }, h("p", {}, "No event matches."), h("button.quiet", { type: "button", onclick: () => clear() }, "Clear the filter"));
  body.append(chips, h("div.scroll", {}, list, ...empty.elements, none, jump));
  const scroll = body.lastChild;

  const types = new Set();
  const buttons = new Map();
  let wanted = "";
  let paused = false;
  let next = 0;
  let unseen = 0;
  let stuck = true;
  let rested = 0;
  let later = 0;

  const matches = (entry) => {
    if (entry.kind === "note") return !types.size && !wanted;
    const { event } = entry;
    if (types.size && !types.has(event.event_type)) return false;
    if (!wanted) return true;
    entry.text ??= `${event.event_type} ${event.subject} ${event.source} ${event.id} ${JSON.stringify(event.data)}`.toLowerCase();
    return entry.text.includes(wanted);
  };

  const row = (entry) => {
    if (entry.kind === "note") return h(`li.note.${entry.tone}`, {}, h("span.time", {}, clock(entry.at)), h("span", {}, entry.text));
    const { event } = entry;
    const line = h("button.event", { type: "button", "aria-expanded": "false", tabindex: -1 },
      h("span.time", {}, clock(entry.at)),
      h("span.type", {}, event.event_type),
      h("span.subject", { title: event.subject }, event.subject),
      h("span.summary", {}, summary(event.data).map(([key, text]) => [h("span.key", {}, key), ` ${text} `]).flat()));
    const element = h("li", { dataset: { domain: entry.domain, id: event.id, cursor: event.cursor } }, line);
    element.entry = entry;
    return element;
  };

  const detail = ({ event }) => h("div.detail", {},
    h("pre", { tabindex: 0, "aria-label": "The whole event" }, pretty(event)),
    h("div.row-of-buttons", {},
      copyButton("Copy JSON", () => JSON.stringify(event, null, 2)),
      copyButton("Copy as curl", () => curl(event, client.base)),
      h("button.quiet", { type: "button", onclick: () => only(event.event_type) }, `Only ${event.event_type}`)));

  list.addEventListener("click", ({ target }) => {
    const line = target.closest("button.event");
    if (!line) return;
    const element = line.parentElement;
    const open = line.getAttribute("aria-expanded") !== "true";
    line.setAttribute("aria-expanded", String(open));
    element.querySelector(".detail")?.remove();
    if (open) element.append(detail(element.entry));
    stuck = stuck && !open;
  });
  // One stop for the tab key; from there the arrows go from event to event.
  let current = null;
  const stop = (line) => {
    if (current) current.tabIndex = -1;
    current = line;
    if (line) line.tabIndex = 0;
  };
  list.addEventListener("focusin", ({ target }) => target.matches("button.event") && stop(target));
  list.addEventListener("keydown", (press) => {
    const way = { ArrowUp: "previousElementSibling", ArrowDown: "nextElementSibling" }[press.key];
    if (!way || !press.target.matches("button.event")) return;
    let beside = press.target.parentElement[way];
    while (beside && !beside.querySelector("button.event")) beside = beside[way];
    beside?.querySelector("button.event").focus();
    press.preventDefault();
  });
  document.addEventListener("keydown", (press) => {
    if (press.ctrlKey || press.metaKey || press.altKey) return;
    if (press.key === "Escape" && press.target === search) {
      clear();
      search.blur();
    }
    if (press.target.matches?.("input, select, textarea")) return;
    if (press.key === "p" && root.isConnected) pause(!paused);
  });

  const atFoot = () => scroll.scrollTop + scroll.clientHeight >= scroll.scrollHeight - 24;
  let settling = 0;
  scroll.addEventListener("scroll", () => {
    // What this page scrolled itself is no wish of the reader's.
    if (performance.now() < settling) return;
    stuck = atFoot();
    if (stuck) unseen = 0;
    tell();
  }, { passive: true });
  const settle = () => {
    settling = performance.now() + 60;
    scroll.scrollTop = scroll.scrollHeight;
  };
  const follow = () => {
    stuck = true;
    unseen = 0;
    if (paused) pause(false);
    prune(ROWS);
    settle();
    tell();
  };

  const prune = (limit) => {
    while (list.childElementCount > limit) {
      if (list.firstElementChild.contains(current)) stop(null);
      list.firstElementChild.remove();
    }
  };

  const append = () => {
    if (paused) {
      unseen = store.arrived - next;
      tell();
      return;
    }
    const began = performance.now();
    if (began < rested) {
      later ||= setTimeout(() => {
        later = 0;
        store.touch("events");
      }, rested - began);
      return;
    }
    draw();
    // By the end of the next frame layout and painting have had their turn, and are counted too.
    requestAnimationFrame(() => setTimeout(() => {
      const took = performance.now() - began;
      if (took > 25) rested = performance.now() + Math.min(1_000, took / SHARE - took);
    }));
  };
  const draw = () => {
    // Numbers rise by one, so that what is new is the tail of what is kept.
    const fresh = store.events.slice(Math.max(0, store.events.length - (store.arrived - next))).filter(matches).slice(-ROWS);
    next = store.arrived;
    if (fresh.length) {
      list.append(...fresh.map(row));
      // A reader who scrolled up keeps what is on screen, up to twice as many rows.
      prune(stuck ? ROWS : ROWS * 2);
      if (stuck) settle();
      else unseen += fresh.length;
      if (!current) stop(list.querySelector("button.event"));
    }
    tell();
  };

  const refilter = () => {
    wanted = search.value.trim().toLowerCase();
    const shown = paused ? store.events.filter((entry) => entry.number < next) : store.events;
    if (!paused) next = store.arrived;
    stop(null);
    list.replaceChildren(...shown.filter(matches).slice(-ROWS).map(row));
    stop(list.querySelector("button.event"));
    stuck = true;
    unseen = 0;
    settle();
    tell();
  };
  const clear = () => {
    types.clear();
    search.value = "";
    refilter();
  };
  const only = (type) => {
    types.clear();
    types.add(type);
    refilter();
  };
  const toggle = (type) => {
    if (!types.delete(type)) types.add(type);
    refilter();
  };
  const pause = (wish) => {
    paused = wish;
    hold.setAttribute("aria-pressed", String(paused));
    hold.replaceChildren(icon(paused ? "play" : "pause"), h("span", {}, paused ? "Resume" : "Pause"));
    if (!paused) {
      unseen = 0;
      draw();
    }
    tell();
  };

  const chip = (type, label) => {
    const count = h("span.count");
    const button = h("button.chip", { type: "button", "aria-pressed": "false", dataset: { type: type ?? "" }, onclick: () => (type === null ? clear() : toggle(type)) }, label, count);
    return { button, count };
  };
  const all = chip(null, "All");
  chips.append(all.button);

  const tell = () => {
    for (const [type, amount] of store.types) {
      if (!buttons.has(type)) {
        const made = chip(type, type);
        const after = [...buttons.keys()].filter((other) => other > type).sort()[0];
        chips.insertBefore(made.button, after ? buttons.get(after).button : null);
        buttons.set(type, made);
      }
      const { button, count } = buttons.get(type);
      say(count, number(amount));
      button.setAttribute("aria-pressed", String(types.has(type)));
    }
    all.button.setAttribute("aria-pressed", String(!types.size && !wanted));
    say(all.count, number(client.stats.events));
    say(total, paused ? `paused, ${number(unseen)} waiting` : `${number(list.childElementCount)} shown`);
    show(chips, buttons.size > 0);
    show(total, store.arrived > 0);
    empty.tell(store.situation("events"), store.arrived === 0);
    show(list, list.childElementCount > 0);
    show(none, store.arrived > 0 && list.childElementCount === 0);
    show(jump, unseen > 0 && (paused || !stuck));
    say(caption, `${number(unseen)} new`);
  };

  pause(false);
  store.watch("events", append);
}
