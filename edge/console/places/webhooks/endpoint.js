/** One endpoint: how it is, every attempt, and what one may do with it. The console and the portal show the same. */

import { h, icon, say, show } from "../../dom.js";
import { number, percent } from "../../format.js";
import { passing } from "../../parts/again.js";
import { confirm, dialog } from "../../parts/dialog.js";
import { poll } from "../../parts/poll.js";
import { faulty, loading, sentence } from "../../parts/states.js";
import { heading, tool } from "../../parts/toolbar.js";
import { badge } from "../../views/panel.js";
import { field } from "../sessions/fields.js";
import { showSecret } from "../sessions/secret.js";
import { settingsView } from "../sessions/settings.js";
import { testDialog } from "../sessions/test.js";
import { attemptsView } from "./attempts.js";
import { healthView } from "./health.js";
import { recoveriesView } from "./recoveries.js";

const EVERY = 2_000;

const TILES = (stats) => {
  const finished = stats.events_delivered + stats.events_failed + stats.events_dropped;
  return [
    ["Delivered", number(stats.events_delivered), "events the receiver answered 2xx"],
    ["Waiting", number(stats.queued_events), "taken up, not settled yet"],
    ["Given up", number(stats.events_failed), "after all retries; they are dead letters"],
    ["Retries", number(stats.retries), "attempts after a first one failed"],
    ["Success", finished ? percent(stats.delivery_rate) : "–", "delivered, of all that are settled"],
  ];
};

/**
 * `api` is that of one session; `count(session, { since, until })` counts the events that it reads of a stretch; `tools(session)` are further tools; `titled(text)` is told its name; `search` is what the attempts are
 * searched by at first, and `searched(values)` is told when that changes; `mayChange` says whether its settings may be changed here.
 * Returns `{ element, close() }`.
 */
export function endpointView({ api, id, toast, now, back = null, tools = () => [], titled = () => {}, count = null, mayChange = false, search = {}, searched = () => {} }) {
  const head = heading("webhook", id, { back });
  const health = healthView(now);
  const figures = h("div.tiles");
  const attempts = attemptsView({ api, toast, changed: searched, done: () => polling.again(), earlier: () => recoveries.replay() });
  const recoveries = recoveriesView({ api, toast, now, count: count && ((span) => count(session, span)) });
  const content = h("div.session-content", {}, loading("the endpoint"));
  attempts.set(search);
  let session = null;
  let state = null;

  const draw = () => {
    const name = session.name || session.session_id;
    say(head.title, name);
    titled(name);
    content.replaceChildren(
      h("p.endpoint-address", {}, session.webhook_url), health.element, figures, attempts.element,
      h("div.session-columns", {}, h("div.session-column", {}, recoveries.element, trust()), h("section.card", {}, h("h3", {}, "Settings"), h("div.inner", {}, settingsView(session)))));
  };
  const tell = async (order, done) => {
    try {
      health.set((state = await order()));
      drawTools();
      toast(done);
    } catch (fault) {
      toast(fault.status ? sentence(fault.message) : "The server cannot be reached; nothing was changed.", "bad");
    }
  };
  const drawTools = () => {
    const held = state?.state === "disabled" || state?.state === "open";
    head.tools.replaceChildren(...[
      tool("Test", "play", () => testDialog(session, api, { done: () => polling.again(), changed: mayChange ? (next) => { session = next; draw(); } : null }), { wide: true }),
      held && tool("Enable", "play", () => tell(api.enable, "Deliveries go on; what waited comes first."), { wide: true }),
      state?.state !== "disabled" && tool("Pause", "pause", pause, { wide: true }),
      ...tools(session),
    ].filter(Boolean));
  };
  const pause = async () => {
    const text = "Nothing is posted until somebody enables it. Events wait, as long as they are kept.";
    if (await confirm("Pause deliveries?", { text, action: "Pause" })) await tell(() => api.disable("paused by hand"), "Deliveries are paused.");
  };
  const trust = () => {
    const older = session.old_secrets_until ?? [];
    return h("section.card", {}, h("h3", {}, "Secret and consent"), h("div.inner", {},
      h("p", {}, `Every post is signed (${session.signing}) in the header webhook-signature. `,
        older.length ? `${number(older.length)} older ${older.length === 1 ? "secret signs" : "secrets sign"} as well for a while.` : "One secret signs."),
      session.webhook_public_key && h("pre.json", { tabindex: 0, "aria-label": "Public key" }, session.webhook_public_key),
      h("div.row-of-buttons", {},
        h("button.quiet", { type: "button", onclick: rotate }, icon("lock"), h("span", {}, "Rotate the secret …")),
        session.verify !== "none" && h("button.quiet", { type: "button", onclick: verify }, icon("check"), h("span", {}, "Ask for consent"))),
      h("p", {}, session.verify === "none" ? "The receiver is not asked before it is sent events." : badge(session.state === "pending" ? "Has not agreed yet" : "Has agreed", session.state === "pending" ? "warn" : "ok"))));
  };
  const rotate = async () => {
    const overlap = field({ name: "overlap", label: "The old one signs as well for (hours)", kind: "number", min: 0, max: 720, value: 24, hint: "Time to change the receiver without refusing a post. 0 where the old one has leaked." });
    const fault = h("p.form-fault", { role: "alert", hidden: true });
    const form = h("form", { onsubmit: async (submit) => {
      submit.preventDefault();
      try {
        session = await api.rotate({ overlap: (overlap.value ?? 24) * 3600 });
        shown.close();
        await showSecret(session.webhook_secret);
        draw();
      } catch (problem) {
        say(fault, problem.status ? sentence(problem.message) : "The server cannot be reached. Look at the settings whether the secret was changed.");
        show(fault, true);
      }
    } }, h("p", {}, "A new secret is made and shown once. Until the old one ends, each post has both signatures, and either verifies."), overlap.element, fault,
      h("div.row-of-buttons.end", {}, h("button.primary", { type: "submit" }, "Make a new secret")));
    const shown = dialog("Rotate the secret", [form]);
  };
  const verify = async () => {
    try {
      const { verification, ...changed } = await api.verify();
      session = changed;
      toast(verification.ok ? "The receiver has agreed; its events are posted." : `The receiver has not agreed: ${verification.detail ?? verification.error}.`, verification.ok ? "ok" : "bad");
      draw();
    } catch (fault) {
      toast(sentence(fault.message), "bad");
    }
  };
  const read = async () => {
    try {
      if (!session) {
        session = await api.read();
        if (session.delivery_method !== "webhook") throw Object.assign(new Error("This session is read, and has no endpoint."), { status: 404 });
        draw();
      }
      const [next, stats] = await Promise.all([api.health(), api.stats(), recoveries.read(), attempts.read()]);
      const known = state?.state;
      state = next;
      health.set(state);
      if (known !== state.state) drawTools();
      const drawn = TILES(stats);
      if (!figures.childElementCount) figures.append(...drawn.map(([name]) => h("div.tile", {}, h("span.name", {}, name), h("span.value"), h("span.word"))));
      drawn.forEach(([, value, word], at) => {
        say(figures.children[at].children[1], value);
        say(figures.children[at].children[2], word);
      });
    } catch (fault) {
      if (session && passing(fault)) return;
      session = state = null;
      head.tools.replaceChildren();
      content.replaceChildren(faulty(fault, "the endpoint", { right: "see this session", again: () => polling.again() }));
    }
  };
  const polling = poll(read, EVERY);
  const ticking = setInterval(() => !document.hidden && health.tick(), 1_000);
  return {
    element: h("section.page.sessions.endpoint", { id: "webhooks" }, head.element, content),
    close() {
      polling.stop();
      clearInterval(ticking);
    },
  };
}
