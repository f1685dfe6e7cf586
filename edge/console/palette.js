/** Finds anything: places, runs, alerts, cameras, renders, sessions, actors and events, by id, subject or name. */

import { h, icon, say } from "./dom.js";
import { PLACES, addressOf } from "./places.js";
import { isCursor } from "./places/events/place.js";

const SHOWN = 12;
// The server is asked when somebody has paused typing (ms).
const ASKING = 200;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}$/i;
const SUBJECT = /^[a-z]+\.[^\s]+$/i;

/** How well a text answers what was typed: 0 for not at all. */
export function score(text, wanted) {
  const low = text.toLowerCase();
  if (low === wanted) return 100;
  if (low.startsWith(wanted)) return 60;
  if (low.includes(wanted)) return 40;
  let at = 0;
  for (const letter of wanted) {
    at = low.indexOf(letter, at) + 1;
    if (!at) return 0;
  }
  return wanted.length > 1 ? 10 : 0;
}

const has = (name) => PLACES.some((place) => place.name === name);

/** All that is known here, as `{ title, detail, icon, href, words }`. */
function known(store) {
  const found = PLACES.map((place) => ({ title: place.title, detail: "Place", icon: place.icon, href: addressOf(place.name), words: place.title }));
  for (const run of store.runs.values()) {
    found.push({ title: String(run.name ?? run.run), detail: [`Run · ${run.status}`, run.name && run.run].filter(Boolean).join(" · "), icon: run.domain, href: addressOf("runs", [run.domain, run.run]), words: `${run.name ?? ""} ${run.run} ${run.key}` });
  }
  for (const alert of store.alerts.values()) {
    found.push({ title: String(alert.title ?? alert.rule), detail: `Alert · ${alert.state} · ${alert.rule}`, icon: "alert", href: addressOf("alerts", alert.alert ? [alert.alert] : []), words: `${alert.title ?? ""} ${alert.rule} ${alert.alert ?? ""} ${alert.entity ?? ""}` });
  }
  for (const id of store.cameras.keys()) found.push({ title: id, detail: "Camera", icon: "camera", href: addressOf("cameras", [id]), words: `camera.${id}` });
  for (const id of store.octanes.keys()) found.push({ title: id, detail: "Render", icon: "render", href: addressOf("renders", [id]), words: `octane.${id}` });
  return found;
}

/** What the text itself may name at the server. */
function direct(text) {
  const found = [];
  if (UUID.test(text)) found.push({ title: text, detail: "Event by its id", icon: "stream", href: addressOf("events", [], { id: text }) });
  if (isCursor(text)) found.push({ title: text, detail: "Event at a cursor", icon: "stream", href: addressOf("events", [text]) });
  if (SUBJECT.test(text)) found.push({ title: text, detail: "Events of this subject", icon: "stream", href: addressOf("events", [], { subject: text }) });
  if (text) found.push({ title: `Search events for “${text}”`, detail: "Events", icon: "search", href: addressOf("events", [], { q: text }) });
  return found;
}

async function sessions(client, text) {
  if (!has("sessions") || text.length < 2) return [];
  const { sessions: all } = await client.get("/callbacks/sessions?limit=1000").catch(() => ({ sessions: [] }));
  return all.map((each) => {
    const hook = each.delivery_method === "webhook";
    return { title: each.name ?? each.session_id, detail: `${hook ? "Webhook" : "Session"} · ${each.delivery_method}`, icon: hook ? "webhook" : "sessions", href: addressOf(hook && has("webhooks") ? "webhooks" : "sessions", [each.session_id]), words: `${each.session_id} ${each.webhook_url ?? ""}` };
  });
}

async function actors(client) {
  const { actors: all } = await client.get("/actors").catch(() => ({ actors: [] }));
  return all.map(({ actor, instance, state }) => ({ title: instance === "main" ? actor : `${actor} / ${instance}`, detail: `Actor · ${state}`, icon: "actors", href: addressOf("actors", [actor, instance]), words: `${actor} ${instance}` }));
}

/** How well something answers: letters that lie apart count in its title alone, since any id has some of them. */
const points = (each, wanted) => {
  const known = score(each.words ?? "", wanted);
  return Math.max(score(each.title, wanted), known >= 40 ? known : 0);
};

/** Returns `open()`. */
export function palette({ client, store, navigate }) {
  const input = h("input", { type: "text", role: "combobox", "aria-expanded": "true", "aria-controls": "found", "aria-label": "Find anything", placeholder: "Find a place, run, alert, session, actor, subject, event id …", autocomplete: "off", spellcheck: "false" });
  const list = h("ul", { id: "found", role: "listbox", "aria-label": "Found" });
  const none = h("p.faint", { role: "status" });
  const box = h("dialog.palette", { "aria-label": "Find anything" }, h("label.search", {}, icon("search"), input), list, none,
    h("p.hint.faint", { "aria-hidden": "true" }, "↑↓ choose · Enter opens · Esc closes"));
  document.body.append(box);
  let shown = [];
  let chosen = 0;
  let asking = null;
  let remote = [];
  let acting = [];

  const draw = () => {
    const wanted = input.value.trim().toLowerCase();
    const all = [...known(store), ...acting, ...remote];
    const ranked = wanted
      ? all.map((each) => ({ each, fit: points(each, wanted) })).filter(({ fit }) => fit).sort((a, b) => b.fit - a.fit).map(({ each }) => each)
      : all;
    shown = [...ranked.slice(0, SHOWN), ...direct(input.value.trim())];
    chosen = Math.min(chosen, Math.max(0, shown.length - 1));
    list.replaceChildren(...shown.map((each, at) => h("li", { id: `found-${at}`, role: "option", "aria-selected": String(at === chosen), onclick: () => go(at), onpointermove: () => choose(at) },
      icon(each.icon), h("span.title", {}, each.title), h("span.detail", {}, each.detail))));
    say(none, shown.length ? "" : "Nothing is called that.");
    choose(chosen);
  };
  const choose = (at) => {
    chosen = at;
    for (const [place, each] of [...list.children].entries()) each.setAttribute("aria-selected", String(place === at));
    input.setAttribute("aria-activedescendant", shown.length ? `found-${at}` : "");
    list.children[at]?.scrollIntoView({ block: "nearest" });
  };
  const go = (at) => {
    const { href } = shown[at] ?? {};
    box.close();
    if (href) navigate(href);
  };
  input.addEventListener("input", () => {
    chosen = 0;
    draw();
    clearTimeout(asking);
    const text = input.value.trim();
    asking = setTimeout(async () => {
      remote = await sessions(client, text);
      if (box.open) draw();
    }, ASKING);
  });
  box.addEventListener("click", (click) => click.target === box && box.close());
  box.addEventListener("keydown", (press) => {
    const way = { ArrowDown: 1, ArrowUp: -1 }[press.key];
    if (way && shown.length) choose((chosen + way + shown.length) % shown.length);
    else if (press.key === "Enter") go(chosen);
    else return;
    press.preventDefault();
  });
  return () => {
    if (box.open) return;
    input.value = "";
    chosen = 0;
    draw();
    box.showModal();
    input.focus();
    actors(client).then((found) => {
      acting = found;
      if (box.open && input.value) draw();
    });
  };
}
