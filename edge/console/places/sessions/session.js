/** One session: how it is now, who reads it, what became of its events, its settings, and what one may do with it. */

import { copyButton, h, icon, say, show } from "../../dom.js";
import { duration, number, percent } from "../../format.js";
import { asking, passing } from "../../parts/again.js";
import { confirm, dialog } from "../../parts/dialog.js";
import { poll } from "../../parts/poll.js";
import { faulty, loading, sentence } from "../../parts/states.js";
import { table } from "../../parts/table.js";
import { time } from "../../parts/time.js";
import { heading, tool } from "../../parts/toolbar.js";
import { badge } from "../../views/panel.js";
import { sessionsApi } from "./api.js";
import { sessionForm } from "./form.js";
import { latestEvents } from "./latest.js";
import { iconOf, programsFor, titleOf } from "./methods.js";
import { settingsView } from "./settings.js";
import { ENDPOINT_STATES, endpointBadge } from "./state.js";
import { testDialog } from "./test.js";

const EVERY = 3_000;

const READERS = [
  { name: "transport", title: "By", cell: ({ transport }) => titleOf(transport) },
  { name: "state", title: "Is", cell: ({ state }) => badge(...(STATES[state] ?? [state, "quiet"])) },
  { name: "lag", title: "Behind", end: true, cell: ({ lag_events: lag }) => (lag ? `${number(lag)} events` : "Nothing") },
  { name: "since", title: "Since", end: true, cell: ({ since }) => time(since) },
];
const STATES = { live: ["Live", "ok"], replaying: ["Catching up", "info"], lagging: ["Slow, reads from the store", "warn"], connecting: ["Connecting", "info"], closed: ["Closing", "quiet"] };

/** Figures with what each means. */
function tiles(stats) {
  const finished = stats.events_delivered + stats.events_failed + stats.events_dropped;
  return [
    ["Sent", number(stats.events_sent), "events taken up for delivery"],
    ["Delivered", number(stats.events_delivered), "written to a reader, or answered 2xx"],
    ["Waiting", number(stats.queued_events), "taken up, and not settled yet"],
    ["Failed", number(stats.events_failed), stats.retries ? `given up; ${number(stats.retries)} retries were made` : "given up for good"],
    ["Left out", number(stats.events_dropped), "a newer event stood for them"],
    ["Success", finished ? percent(stats.delivery_rate) : "–", "delivered, of all that are settled"],
    ["Behind", stats.lag_events ? number(stats.lag_events) : "0", stats.oldest_event_seconds ? `events; the oldest is ${duration(stats.oldest_event_seconds)} old` : "events, of the slowest reader"],
  ];
}

export function sessionView(context, id) {
  const api = sessionsApi(context.client).session(id);
  const head = heading("sessions", id, { back: { href: context.addressOf("sessions"), label: "Sessions" } });
  const content = h("div.session-content", {}, loading("the session"));
  const figures = h("div.tiles");
  const readers = table({ label: "Readers", columns: READERS, key: (row) => `${row.transport} ${row.since}` });
  const noReader = h("p.faint", {}, "Nobody reads it now. It keeps its place: who comes back goes on where it was.");
  const statsFault = h("p.form-fault", { role: "status", hidden: true });
  const state = h("span");
  const advice = h("p.advice", { hidden: true });
  let session = null;
  let latest = null;
  let polling = null;
  let health = null;

  const draw = () => {
    say(head.title, session.name || session.session_id);
    context.retitle(session.name || "Session");
    const isWebhook = session.delivery_method === "webhook";
    head.badges.replaceChildren(h("span.badge.info", {}, icon(iconOf(session.delivery_method)), titleOf(session.delivery_method)), state);
    head.tools.replaceChildren(...tools(isWebhook));
    latest?.close();
    latest = latestEvents(session, context.client);
    const programs = programsFor(session, context.client.base);
    content.replaceChildren(
      advice, statsFault, figures,
      h("div.session-columns", {},
        h("div.session-column", {},
          h("section.card", {}, h("h3", {}, isWebhook ? "Who reads it besides" : "Who reads it"), h("div.inner", {}, readers.element, noReader)),
          h("section.card", {}, h("h3", {}, "Settings"), h("div.inner", {}, settingsView(session)))),
        h("div.session-column", {},
          h("section.card", {}, h("h3", {}, "Last events"), h("div.inner", {}, latest.element)),
          programs.length > 0 && h("section.card", {}, h("h3", {}, "How to read it"), h("div.inner", {}, ...programs.map(([title, text]) => h("div.program", {}, h("span.label", {}, title), h("pre", { tabindex: 0, "aria-label": title }, text), copyButton("Copy", () => text))))))));
  };
  const tools = (isWebhook) => [
    isWebhook && h("a.tool.wide", { href: context.addressOf("webhooks", [id]) }, icon("webhook"), h("span", {}, "Deliveries")),
    tool("Test", "play", () => testDialog(session, api, { done: () => polling.again(), changed: (next) => { session = next; draw(); } }), { wide: true }),
    isWebhook && pauseTool(),
    tool("Change", "sliders", change, { wide: true }),
    tool("Delete", "bin", remove, { wide: true }),
  ].filter(Boolean);
  const pauseTool = () => {
    const disabled = health?.state === "disabled";
    return tool(disabled ? "Resume" : "Pause", disabled ? "play" : "pause", async () => {
      try {
        health = disabled ? await api.enable() : await api.disable("paused in the console");
        context.toast(disabled ? "Deliveries go on; what waited comes first." : "Deliveries are paused. Events wait until you resume.");
        drawHealth();
      } catch (fault) {
        context.toast(sentence(fault.message), "bad");
      }
    }, { wide: true });
  };
  const change = async () => {
    const form = sessionForm({ change: session });
    asking(async () => form.types.load(await sessionsApi(context.client).types()), { needed: () => form.element.isConnected })();
    const save = h("button.primary", { type: "submit" }, "Save");
    const element = h("form", { novalidate: true, onsubmit: async (submit) => {
      submit.preventDefault();
      form.fault(null);
      const changes = form.changes;
      if (!Object.keys(changes).length) return shown.close();
      save.disabled = true;
      try {
        session = await api.change(changes);
        shown.close();
        draw();
        context.toast("It is changed; readers go on under it.");
      } catch (fault) {
        form.fault(fault.status ? fault : new Error("The server cannot be reached. Nothing was changed; try again."));
      } finally {
        save.disabled = false;
      }
    } }, form.element, h("div.row-of-buttons.end", {}, save));
    const shown = dialog("Change the session", [element], { wide: true });
  };
  const remove = async () => {
    const text = session.delivery_method === "webhook" ? "Nothing more is posted, and what waits is dropped. Its attempts go with it." : "Its readers are closed, and their cursors mean nothing any more.";
    if (!(await confirm(`Delete ${session.name || id}?`, { text, action: "Delete", danger: true }))) return;
    try {
      await api.remove();
      context.toast("The session is deleted.");
      context.navigate(context.addressOf("sessions"), { replace: true });
    } catch (fault) {
      context.toast(sentence(fault.message), "bad");
    }
  };
  const drawHealth = () => {
    if (!health) return;
    const name = health.active ? health.state : "pending";
    state.replaceChildren(endpointBadge(name));
    const [, tone, meaning] = ENDPOINT_STATES[name] ?? [];
    say(advice, name === "closed" ? "" : meaning);
    advice.className = `advice ${tone}`;
    show(advice, name !== "closed");
    head.tools.replaceChildren(...tools(true));
  };
  const read = async () => {
    try {
      if (!session) {
        session = await api.read();
        draw();
      }
      const stats = await api.stats();
      figures.replaceChildren(...tiles(stats).map(([name, value, word]) => h("div.tile", {}, h("span.name", {}, name), h("span.value", {}, value), h("span.word", {}, word))));
      readers.set(stats.connections);
      show(noReader, !stats.connections.length);
      say(statsFault, stats.last_error ? `The last failure: ${stats.last_error}` : "");
      // Where a retry made up for it, it is no alarm.
      statsFault.className = stats.events_failed ? "form-fault" : "advice quiet";
      show(statsFault, Boolean(stats.last_error));
      if (session.delivery_method === "webhook") {
        const before = health;
        health = await api.health();
        if (before?.state !== health.state || before?.active !== health.active) drawHealth();
      } else state.replaceChildren(stats.connections.length ? badge(`${number(stats.connections.length)} reading`, "ok") : badge("No connection", "quiet"));
    } catch (fault) {
      if (session && passing(fault)) return;
      latest?.close();
      session = latest = null;
      head.tools.replaceChildren();
      content.replaceChildren(faulty(fault, "the session", { right: "see this session", again: () => polling.again() }));
    }
  };
  polling = poll(read, EVERY);
  return {
    element: h("section.page.sessions", { id: "sessions" }, head.element, content),
    title: "Session",
    close() {
      polling.stop();
      latest?.close();
    },
  };
}
