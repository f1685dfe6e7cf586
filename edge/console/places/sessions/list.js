/** Lists sessions: searched and filtered by the server, read anew every few seconds. */

import { h, icon, say, show } from "../../dom.js";
import { number } from "../../format.js";
import { filterBar } from "../../parts/filters.js";
import { poll } from "../../parts/poll.js";
import { faulty, loading, nothing } from "../../parts/states.js";
import { table } from "../../parts/table.js";
import { time } from "../../parts/time.js";
import { heading } from "../../parts/toolbar.js";
import { badge } from "../../views/panel.js";
import { sessionsApi } from "./api.js";
import { METHODS, iconOf, titleOf } from "./methods.js";
import { endpointBadge } from "./state.js";

const EVERY = 4_000;
const PAGE = 50;

const FIELDS = [
  { name: "q", label: "Search", kind: "search", placeholder: "Name, id, subject, address …", wide: true },
  { name: "delivery_method", label: "Delivery method", kind: "select", options: [["", "All methods"], ...METHODS.map(({ name, title }) => [name, title])] },
];

const columns = (own) => [
  { name: "name", title: "Session", cell: (row) => nameOf(row), sort: (row) => row.name ?? row.session_id },
  { name: "method", title: "Delivery", cell: (row) => h("span.with-icon", { title: titleOf(row.delivery_method) }, icon(iconOf(row.delivery_method)), h("span.word", {}, titleOf(row.delivery_method))), sort: (row) => row.delivery_method },
  { name: "state", title: "Now", cell: (row) => stateOf(row, own()) },
  { name: "reads", title: "Reads", narrow: true, cell: (row) => readsOf(row) },
  { name: "owner", title: "Owner", narrow: true, cell: (row) => (row.owner ? row.owner.split(" ").at(-1) : "–") },
  { name: "created", title: "Made", narrow: true, cell: (row) => time(row.created_at), sort: (row) => row.created_at },
];

const nameOf = (row) => row.name || row.session_id;

/** What a session reads, in a line. */
export function readsOf({ events, subjects, filter }) {
  const parts = [subjects?.join(", "), events?.join(", "), filter && `where ${filter}`].filter(Boolean);
  const said = parts.join(" · ") || "Everything";
  return h("span.reads", { title: said }, said);
}

function stateOf(row, own) {
  if (row.delivery_method === "webhook") return endpointBadge(row.state === "pending" ? "pending" : row.endpoint_state);
  if (row.session_id === own) return badge("This page", "info");
  const by = [row.has_websocket && "WebSocket", row.has_sse && "SSE"].filter(Boolean);
  return by.length ? badge(`Read by ${by.join(", ")}`, "ok") : badge("No connection", "quiet");
}

export function listView(context, params) {
  const api = sessionsApi(context.client);
  const make = h("a.primary", { href: context.addressOf("sessions", ["new"]) }, icon("plus"), h("span", {}, "New session"));
  const head = heading("sessions", "Sessions", { tools: [make] });
  const total = badge("", "quiet");
  head.badges.append(total);
  let shown = PAGE;
  const bar = filterBar(FIELDS, (values) => {
    shown = PAGE;
    context.mark([], values);
    polling.again();
  });
  bar.set(Object.fromEntries(params.query));
  const rows = table({
    label: "Sessions", columns: columns(() => context.client.state.session), key: ({ session_id: id }) => id,
    href: ({ session_id: id }) => context.addressOf("sessions", [id]),
  });
  const more = h("button.quiet", { type: "button", hidden: true, onclick: () => { shown += PAGE; polling.again(); } }, "Show more");
  const state = h("div.states", {}, loading("the sessions"));
  const content = h("div.list-content", {}, state, rows.element, h("div.row-of-buttons", {}, more));
  show(rows.element, false);

  const draw = ({ sessions, total: all }) => {
    const filtered = Object.values(bar.values).some(Boolean);
    say(total, `${number(all)} ${filtered ? "found" : "in all"}`);
    show(total, true);
    rows.set(sessions);
    show(more, sessions.length < all);
    state.replaceChildren(...(sessions.length ? [] : [empty(filtered)]));
  };
  const empty = (filtered) => filtered
    ? nothing({ icon: "search", title: "No session like that", text: "None has this in its name, id, subjects, owner or address." })
    : nothing({ icon: "sessions", title: "No session yet", text: "A session says which events somebody reads, from where on, and how they are delivered. It outlives connections: a reader that comes back goes on where it was.", action: h("a.primary", { href: context.addressOf("sessions", ["new"]) }, "Make a session") });
  const read = async () => {
    try {
      draw(await api.list({ live: true, newest: true, limit: shown, ...filled(bar.values) }));
    } catch (fault) {
      // What was read before stays; the frame says that the page is offline.
      if (rows.rows.length && !fault.status) return;
      rows.set([]);
      show(total, false);
      state.replaceChildren(faulty(fault, "the sessions", { right: "use this server", again: () => polling.again() }));
    }
  };
  const polling = poll(read, EVERY);
  // The row of this page's own session is known as such from then on.
  const end = context.client.onState(({ phase }) => phase === "live" && polling.again());
  return {
    element: h("section.page.sessions", { id: "sessions" }, head.element, bar.element, content),
    title: "Sessions",
    close() {
      end();
      polling.stop();
    },
  };
}

const filled = (values) => Object.fromEntries(Object.entries(values).filter(([, value]) => value));
