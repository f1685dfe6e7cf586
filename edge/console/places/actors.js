/** The place of the actors: every instance with its state, and a page of each with its commands and its log level. */

import { h, say, show } from "../dom.js";
import { number } from "../format.js";
import { filterBar } from "../parts/filters.js";
import { poll } from "../parts/poll.js";
import { denied, faulty, loading, missing, nothing } from "../parts/states.js";
import { table } from "../parts/table.js";
import { time } from "../parts/time.js";
import { heading, tool } from "../parts/toolbar.js";
import { badge, rebadge } from "../views/panel.js";
import { commandCard } from "./actors/command.js";
import { levelCard } from "./actors/level.js";

// Between two looks at what the actors say of themselves (ms).
const EVERY = 4_000;
const RIGHT = "command an actor, or operate";
const TONES = { running: "ok", silent: "warn", gone: "bad" };
const WORDS = {
  running: "It answers.",
  silent: "Its process holds its lease and does not answer: it may hang, or be cut off from NATS.",
  gone: "Its process has ended.",
};
// Those that people do not give: the one has a card of its own, the other takes dead letters as bytes.
const APART = new Set(["log_level", "redrive"]);

const placeOf = ({ actor, instance }) => `${actor} ${instance}`;
const kinds = (publishes) => Object.entries(publishes).sort(([, a], [, b]) => b - a);

function stateBadge({ state, status, reason }) {
  const odd = state === "running" && status && status !== "gone" ? ` · ${status}` : "";
  const tone = state === "running" && ["failed", "gone"].includes(status) ? "warn" : TONES[state];
  return badge(`${state}${odd}`, tone, reason ?? WORDS[state]);
}

const COLUMNS = [
  { name: "actor", title: "Actor", cell: ({ actor, instance }) => (instance === "main" ? actor : `${actor} / ${instance}`), sort: placeOf },
  { name: "state", title: "State", cell: stateBadge, sort: ({ state }) => state },
  { name: "restarts", title: "Restarts", cell: ({ restarts }) => number(restarts ?? NaN), sort: ({ restarts }) => restarts ?? -1, end: true },
  { name: "mailbox", title: "Mailbox", cell: ({ mailbox }) => number(mailbox ?? NaN), sort: ({ mailbox }) => mailbox ?? -1, end: true, narrow: true },
  { name: "since", title: "Since", cell: ({ since }) => time(since), sort: ({ since }) => since ?? "", narrow: true },
  { name: "version", title: "Version", cell: ({ version }) => version ?? "–", sort: ({ version }) => version ?? "", narrow: true },
  { name: "publishes", title: "Publishes", cell: ({ publishes }) => kinds(publishes).map(([kind]) => kind).slice(0, 4).join(", ") || "–", narrow: true },
];

/** Reads the actors over and over; `draw(actors)` or `fail(element)` shows them. */
function watching(context, { draw, fail }) {
  let drawn = false;
  // The fault that is shown: drawn anew only where it changes, so that a click on its button is not lost.
  let told = null;
  const mark = badge("not live", "warn", "The server did not answer; this is from before.");
  show(mark, false);
  const read = async () => {
    try {
      const { actors } = await context.client.get("/actors");
      show(mark, false);
      told = null;
      await draw(actors);
      drawn = true;
    } catch (fault) {
      const allowed = fault.status !== 401 && fault.status !== 403;
      if (drawn && allowed) show(mark, true);
      else if (told !== (told = `${fault.status} ${fault.message}`)) fail(faulty(fault, "the actors", { right: RIGHT, again: () => polling.again() }));
    }
  };
  const polling = poll(read, EVERY);
  const end = context.client.onState(({ phase }) => phase === "live" && polling.again());
  return { mark, again: polling.again, stop: () => (polling.stop(), end()) };
}

/** What an empty list means: nobody there, or no right to see any. */
function empty({ store: { rights } }) {
  if (rights && !rights.operate && !rights.command.length) return denied("the actors", RIGHT, "There may be some that this page does not show.");
  return nothing({ icon: "actors", title: "No actor serves", text: rights?.operate === false ? "At least none that your token may command." : "Actors follow cameras and renders, keep runs and raise alerts. Start them with the edge, or one by one.", command: "callboard up" });
}

function list(context, params) {
  const head = heading("actors", "Actors", { tools: [tool("Read again", "restart", () => watch.again())] });
  const count = badge("");
  const rows = table({ label: "Actors", columns: COLUMNS, key: ({ id, ...each }) => id ?? placeOf(each), href: ({ actor, instance }) => context.addressOf("actors", [actor, instance]) });
  const state = h("div", {}, loading("the actors"));
  let known = [];
  const filters = filterBar([
    { name: "q", label: "Find an actor", kind: "search", wide: true },
    { name: "state", label: "State", kind: "select", options: [["", "Every state"], ["running", "Running"], ["silent", "Silent"], ["gone", "Gone"]] },
  ], (values) => {
    context.mark([], values);
    draw(known);
  });
  filters.set(Object.fromEntries(params.query));
  const draw = (actors) => {
    known = actors;
    const { q, state: wanted } = filters.values;
    const text = q.toLowerCase();
    const shown = actors.filter((each) => (!wanted || each.state === wanted) && [each.actor, each.instance, each.about, ...Object.keys(each.publishes)].some((part) => part.toLowerCase().includes(text)));
    const bad = actors.filter((each) => each.state !== "running").length;
    rebadge(count, bad ? `${bad} not running` : `${actors.length} running`, bad ? "warn" : "ok");
    show(count, actors.length > 0);
    rows.set(shown);
    state.replaceChildren(...(!actors.length ? [empty(context)] : !shown.length ? [nothing({ icon: "search", title: "No actor fits", text: "Others are there that the filter leaves out." })] : []));
  };
  const watch = watching(context, { draw, fail: (element) => (rows.set([]), show(count, false), state.replaceChildren(element)) });
  head.badges.append(count, watch.mark);
  return {
    element: h("section.page.actors", { id: "actors" }, head.element, filters.element, rows.element, state),
    title: "Actors",
    close: () => watch.stop(),
  };
}

/** The facts of an actor as rows of a list, made anew where one has changed. */
function facts(actor) {
  const { about, id, since, version, restarts, crash, mailbox, requests, errors, subjects, status, reason, state } = actor;
  const row = (name, value) => (value === null || value === undefined || value === "" ? [] : [h("div.fact", {}, h("dt", {}, name), h("dd", {}, value))]);
  return [
    ...row("What it does", about),
    ...row(state === "gone" ? "Gone since" : "Since", since && time(since)),
    ...row("Says of itself", status && [status, reason].filter(Boolean).join(": ")),
    ...row("Restarts", restarts === null ? null : restarts ? h("span.bad-text", {}, String(restarts)) : "0"),
    ...row("Last crash", crash && h("span", {}, `${crash.error}, `, time(crash.at))),
    ...row("Mailbox", mailbox === null ? null : `${number(mailbox)} waiting`),
    ...row("Commands", requests === null ? null : `${number(requests)} answered, ${number(errors)} of them refused or failed`),
    ...row("Version", version),
    ...row("Service", id && h("code", {}, id)),
    ...row("Receives", subjects.length ? h("span.codes", {}, ...subjects.map((each) => h("code", {}, each))) : state === "running" && "no events"),
  ];
}

function published({ publishes, state }, { addressOf }) {
  const rows = kinds(publishes);
  if (!rows.length) return h("p.faint.inside", {}, state === "running" ? "Nothing since its process began." : "Not known.");
  const link = (kind) => addressOf("events", [], { subject: `${kind.split(".")[0]}.>`, type: kind.split(".")[1] });
  return h("ul.kinds", {}, ...rows.map(([kind, count]) => h("li", {}, h("a", { href: link(kind) }, h("code", {}, kind)), h("span.end", {}, number(count)))));
}

function one(context, { path: [name, instance], query }) {
  const head = heading("actors", instance === "main" ? name : `${name} / ${instance}`, { back: { href: context.addressOf("actors"), label: "Actors" } });
  const state = badge("");
  const about = h("dl.fact-list");
  const kindsShown = h("div");
  const why = h("p.inside.faint");
  const commands = h("div.commands");
  const level = h("div");
  const whole = h("div.actor-page", { hidden: true },
    h("section.card", { "aria-label": "About" }, h("h3", {}, "About"), why, about),
    h("section.card", { "aria-label": "Publishes" }, h("h3", {}, "Publishes"), kindsShown),
    level,
    h("section.card.wide", { "aria-label": "Commands" }, h("h3", {}, "Commands"), commands));
  const outside = h("div", {}, loading(`the actor ${name}`));
  let seen = "";
  let served = null;

  const drawCommands = async (actor) => {
    // Cards hold what somebody types: they are made anew only where the actor serves others than before.
    const serves = actor.state === "running" ? actor.commands.join() : "";
    if (serves === served) return;
    if (!serves) {
      served = serves;
      commands.replaceChildren(h("p.faint.inside", {}, "It takes no commands while it does not answer."));
      level.replaceChildren();
      return;
    }
    const listed = (await context.client.get("/commands")).commands.filter((each) => each.actor === name && each.instance === instance);
    served = serves;
    const known = new Map(listed.map((each) => [each.name, each]));
    const given = actor.commands.filter((each) => !APART.has(each));
    const opened = (each) => context.mark([name, instance], { command: each });
    const cards = given.map((each) => commandCard(context, known.get(each) ?? { actor: name, instance, name: each }, { granted: known.has(each), opened }));
    commands.replaceChildren(...(cards.length ? cards : [h("p.faint.inside", {}, "It takes none.")]));
    const wanted = cards.find((card) => card.dataset.command === query.get("command"));
    if (wanted) {
      wanted.open = true;
      wanted.scrollIntoView();
    }
    if (actor.commands.includes("log_level")) {
      const card = levelCard(context, { actor: name, instance }, known.has("log_level"));
      level.replaceChildren(card.element);
      card.read();
    } else level.replaceChildren();
  };

  const draw = async (actors) => {
    const actor = actors.filter((each) => each.actor === name && each.instance === instance).sort((a, b) => String(b.since).localeCompare(String(a.since)))[0];
    if (!actor) {
      show(whole, false);
      show(state, false);
      outside.replaceChildren(missing(`actor ${name} / ${instance}`, "Nothing of this name serves, or your token may give it no command."));
      return;
    }
    outside.replaceChildren();
    show(whole, true);
    show(state, true);
    const text = stateBadge(actor);
    rebadge(state, text.textContent, text.className.replace("badge ", ""));
    say(why, actor.state === "running" ? "" : WORDS[actor.state]);
    show(why, actor.state !== "running");
    const now = JSON.stringify(actor);
    if (now !== seen) {
      seen = now;
      about.replaceChildren(...facts(actor));
      kindsShown.replaceChildren(published(actor, context));
    }
    await drawCommands(actor);
  };
  const watch = watching(context, { draw, fail: (element) => (show(whole, false), outside.replaceChildren(element)) });
  head.badges.append(state, watch.mark);
  return {
    element: h("section.page.actors", { id: "actors" }, head.element, outside, whole),
    title: `${name} · Actors`,
    close: () => watch.stop(),
  };
}

export default {
  styles: ["/console/parts/details.css", "/console/places/actors.css"],
  open: (context, params) => (params.path.length >= 2 ? one : list)(context, params),
};
