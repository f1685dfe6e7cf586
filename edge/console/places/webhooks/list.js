/** Lists the endpoints of webhooks, with how each is. */

import { h, icon, say, show } from "../../dom.js";
import { number } from "../../format.js";
import { filterBar } from "../../parts/filters.js";
import { poll } from "../../parts/poll.js";
import { faulty, loading, nothing } from "../../parts/states.js";
import { table } from "../../parts/table.js";
import { time } from "../../parts/time.js";
import { heading } from "../../parts/toolbar.js";
import { sessionsApi } from "../sessions/api.js";
import { readsOf } from "../sessions/list.js";
import { endpointBadge } from "../sessions/state.js";

const EVERY = 4_000;
const PAGE = 50;
// Worst first.
const ORDER = ["disabled", "open", "pending", "half_open", "paused", "closed"];

const stateOf = (row) => (row.state === "pending" ? "pending" : row.endpoint_state);

const COLUMNS = [
  { name: "name", title: "Endpoint", cell: (row) => row.name || row.session_id, sort: (row) => row.name ?? row.session_id },
  { name: "state", title: "State", cell: (row) => endpointBadge(stateOf(row)), sort: (row) => ORDER.indexOf(stateOf(row)) },
  { name: "address", title: "Address", narrow: true, cell: (row) => h("span.endpoint-address", { title: row.webhook_url }, row.webhook_url), sort: (row) => row.webhook_url },
  { name: "reads", title: "Reads", narrow: true, cell: readsOf },
  { name: "owner", title: "Owner", narrow: true, cell: (row) => (row.owner ? row.owner.split(" ").at(-1) : "–") },
  { name: "created", title: "Made", narrow: true, cell: (row) => time(row.created_at), sort: (row) => row.created_at },
];

export function listView(context, params) {
  const api = sessionsApi(context.client);
  const making = context.addressOf("sessions", ["new"], { method: "webhook" });
  const head = heading("webhook", "Webhooks", { tools: [h("a.primary", { href: making }, icon("plus"), h("span", {}, "New webhook"))] });
  const total = h("span.badge.quiet", { hidden: true });
  head.badges.append(total);
  let shown = PAGE;
  const bar = filterBar([{ name: "q", label: "Search", kind: "search", placeholder: "Name, address, id …", wide: true }], (values) => {
    shown = PAGE;
    context.mark([], values);
    polling.again();
  });
  bar.set(Object.fromEntries(params.query));
  const rows = table({ label: "Endpoints", columns: COLUMNS, key: ({ session_id: id }) => id, href: ({ session_id: id }) => context.addressOf("webhooks", [id]) });
  const more = h("button.quiet", { type: "button", hidden: true, onclick: () => { shown += PAGE; polling.again(); } }, "Show more");
  const state = h("div.states", {}, loading("the endpoints"));
  show(rows.element, false);
  const empty = (q) => q
    ? nothing({ icon: "search", title: "No endpoint like that", text: `None has “${q}” in its name, id or address.` })
    : nothing({ icon: "webhook", title: "No webhook yet", text: "A webhook is a session whose events are posted to an address of yours: signed, tried again, and searchable here, attempt by attempt.", action: h("a.primary", { href: making }, "Make a webhook") });
  const read = async () => {
    const { q } = bar.values;
    try {
      const { sessions, total: all } = await api.list({ live: true, newest: true, delivery_method: "webhook", limit: shown, ...(q && { q }) });
      say(total, `${number(all)} ${q ? "found" : "in all"}`);
      show(total, true);
      rows.set(sessions);
      show(more, sessions.length < all);
      state.replaceChildren(...(sessions.length ? [] : [empty(q)]));
    } catch (fault) {
      if (rows.rows.length && !fault.status) return;
      rows.set([]);
      show(total, false);
      state.replaceChildren(faulty(fault, "the endpoints", { right: "use this server", again: () => polling.again() }));
    }
  };
  const polling = poll(read, EVERY);
  return {
    element: h("section.page.sessions", { id: "webhooks" }, head.element, bar.element, h("div.list-content", {}, state, rows.element, h("div.row-of-buttons", {}, more))),
    title: "Webhooks",
    close: () => polling.stop(),
  };
}
