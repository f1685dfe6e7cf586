// Shows the AsyncAPI document: channels, and event types with their fields and examples; and the last event of each type.

import { h } from "../dom.js";
import { retrying } from "../parts/again.js";
import { channelCard } from "./channels.js";
import { prose } from "./fields.js";
import { typeCard } from "./types.js";

const base = new URL("../", location.href);
const said = document.querySelector("#said");
const reference = document.querySelector("#reference");
const contents = document.querySelector("#contents");
const find = document.querySelector("#find");
let token = "";

/** Asks the edge for JSON, with the token that was typed in. Throws an Error whose message is the problem's. */
async function ask(path) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(new URL(path, base), { headers });
  const body = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(body.detail ? `${body.title}: ${body.detail}` : body.title, { cause: body.code }), { status: answer.status });
  return body;
}

const again = retrying(load);

async function load() {
  said.textContent = "Loading…";
  try {
    draw(await ask("asyncapi.json"));
    said.textContent = "";
    again.done();
  } catch (fault) {
    again.after(fault);
    const needed = ["token_required", "bad_token", "token_expired"].includes(fault.cause);
    said.textContent = needed ? `${fault.message}. Type a token in above.` : `The document could not be read. ${fault.message}`;
    if (needed) document.querySelector("#token").focus();
  }
}

function draw(made) {
  const channels = Object.entries(made.channels).filter(([name]) => !name.startsWith("nats."));
  const types = typesOf(made);
  const domains = Map.groupBy
    ? Map.groupBy(types, (type) => type.domain)
    : types.reduce((all, type) => all.set(type.domain, [...(all.get(type.domain) ?? []), type]), new Map());
  reference.replaceChildren(
    h("section", { "aria-labelledby": "about" },
      h("h1", { id: "about" }, "Events"),
      h("p.lead", {}, prose(made.info.description)),
      h("h2", { id: "channels" }, "Channels"),
      channels.map(([name, channel]) => channelCard(made, name, channel))),
    ...[...domains].map(([domain, members]) =>
      h("section", { "aria-labelledby": `domain-${domain}` },
        h("h2", { id: `domain-${domain}` }, titleOf(domain)),
        members.map((type) => typeCard(made, type, latest)))));
  contents.replaceChildren(
    group("Channels", channels.map(([name, channel]) => [`channel-${name}`, channel.title])),
    ...[...domains].map(([domain, members]) => group(titleOf(domain), members.map((type) => [`type-${type.name}`, type.name]))));
  filter();
  if (location.hash) document.querySelector(`[id="${CSS.escape(location.hash.slice(1))}"]`)?.scrollIntoView();
}

/** The event types of the document: each has a message to readers, one to publish, one on NATS, and a channel there. */
function typesOf(made) {
  return Object.keys(made.channels)
    .filter((name) => name.startsWith("nats."))
    .map((name) => name.slice("nats.".length))
    .map((name) => ({
      name,
      domain: name.includes(".") ? name.split(".")[0] : "",
      message: made.components.messages[name],
      publish: made.components.messages[`new.${name}`],
      channel: made.channels[`nats.${name}`],
    }))
    .sort((a, b) => a.domain.localeCompare(b.domain) || a.name.localeCompare(b.name));
}

function titleOf(domain) {
  return domain ? `Types of ${domain}` : "Types of every domain";
}

function group(title, links) {
  return h("section", {}, h("h2", {}, title), h("ul", {}, links.map(([id, text]) => h("li", {}, h("a", { href: `#${id}` }, text)))));
}

/** The newest stored event of a type, or null. */
async function latest(type) {
  const query = new URLSearchParams({ types: type.message.name, last: "1", limit: "1" });
  if (type.domain) query.set("subjects", `${type.domain}.>`);
  const page = await ask(`events?${query}`);
  return page.events[0] ?? null;
}

/** Hides what does not have the text that is looked for. */
function filter() {
  const wanted = find.value.trim().toLowerCase();
  for (const card of reference.querySelectorAll(".card")) card.hidden = wanted !== "" && !card.textContent.toLowerCase().includes(wanted);
  for (const link of contents.querySelectorAll("li")) {
    const id = link.firstChild.getAttribute("href").slice(1);
    link.hidden = document.getElementById(id)?.hidden ?? false;
  }
  for (const section of [...contents.querySelectorAll("section"), ...reference.querySelectorAll("section")]) {
    const members = [...section.querySelectorAll("li, .card")];
    section.hidden = wanted !== "" && members.every((each) => each.hidden);
  }
}

find.addEventListener("input", filter);
document.querySelector("#token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = document.querySelector("#token").value.trim();
  load();
});
load();
