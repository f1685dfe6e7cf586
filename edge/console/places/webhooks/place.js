/** An endpoint in the console: with the way to its session, and to a page for its own owner. */

import { query } from "../../../client/http.js";
import { copyButton, h, icon, say, show } from "../../dom.js";
import { dialog } from "../../parts/dialog.js";
import { sentence } from "../../parts/states.js";
import { tool } from "../../parts/toolbar.js";
import { field } from "../sessions/fields.js";
import { sessionsApi } from "../sessions/api.js";
import { endpointView } from "./endpoint.js";

// A page of the server holds at most so many events.
const COUNTED = 1_000;
// A filter that lets little through takes several.
const TRIES = 8;
const TIMES = [["3600", "an hour"], ["86400", "a day"], ["604800", "a week"]];

/** Makes a link that shows this endpoint alone, to who has no account here. */
function share(api, base) {
  const ttl = field({ name: "ttl", label: "Good for", kind: "select", options: TIMES, value: "3600" });
  const answer = h("div.test-answer", { role: "status" });
  const fault = h("p.form-fault", { role: "alert", hidden: true });
  const make = h("button.primary", { type: "submit" }, "Make the link");
  const form = h("form", { onsubmit: async (submit) => {
    submit.preventDefault();
    make.disabled = true;
    show(fault, false);
    try {
      const made = await api.share({ ttl: Number(ttl.value) });
      const link = base + made.path;
      answer.replaceChildren(h("pre.json", { tabindex: 0, "aria-label": "Link" }, link), h("div.row-of-buttons", {}, copyButton("Copy the link", () => link), h("a.quiet", { href: link, target: "_blank", rel: "noopener" }, "Open it")),
        made.token ? "" : h("p", {}, "This server has no keys, so everything is open to whoever reaches it, not this page alone."));
    } catch (problem) {
      say(fault, problem.status ? sentence(problem.message) : "The server cannot be reached; no link was made.");
      show(fault, true);
    } finally {
      make.disabled = false;
    }
  } },
  h("p", {}, "Who has the link sees this endpoint and its attempts, resends, replays, pauses it and replaces its secret. Nothing else is open to it. It cannot be taken back before it ends."),
  ttl.element, fault, h("div.row-of-buttons.end", {}, make), answer);
  dialog("Share this endpoint's page", [form]);
}

/** How many events a session reads of a stretch, as far as a page of them goes. */
async function countOf(client, { subjects, events: types, filter, include_intermediate_results: intermediate }, { since, until }) {
  const named = { subjects: subjects?.join(), types: types?.join(), filter, include_intermediate_results: intermediate, limit: COUNTED, wait: 0 };
  const end = until ? Date.parse(until) : Infinity;
  let found = 0;
  for (let tries = TRIES, place = { since }; tries > 0; tries -= 1) {
    const { events, next, has_more: more } = await client.get(`/events${query({ ...named, ...place })}`);
    const within = events.filter(({ timestamp }) => Date.parse(timestamp) <= end);
    found += within.length;
    if (!more || within.length < events.length) return { events: found, more: false };
    if (found >= COUNTED) break;
    place = { cursor: next };
  }
  return { events: found, more: true };
}

export function placeView(context, id, search) {
  const api = sessionsApi(context.client).session(id);
  const view = endpointView({
    api, id, search, toast: context.toast, now: context.now,
    back: { href: context.addressOf("webhooks"), label: "Webhooks" },
    titled: context.retitle,
    count: (session, span) => countOf(context.client, session, span),
    mayChange: true,
    searched: (values) => context.mark([id], values),
    tools: () => [
      tool("Share", "link", () => share(api, context.client.base), { wide: true }),
      h("a.tool.wide", { href: context.addressOf("sessions", [id]) }, icon("sessions"), h("span", {}, "Session")),
    ],
  });
  return { ...view, title: "Webhook" };
}
