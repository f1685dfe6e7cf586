/** Shows how much an actor's process logs, and changes it while it runs. */

import { h, say } from "../../dom.js";
import { asking } from "../../parts/again.js";
import { denied, kindOf, sentence } from "../../parts/states.js";

const LEVELS = ["debug", "info", "warning", "error"];

/** Returns `{ element, read() }`. */
export function levelCard({ client, toast }, { actor, instance }, granted) {
  const body = h("div.inside");
  const element = h("section.card.level", { "aria-label": "Log level" }, h("h3", {}, "Log level"), body);
  if (!granted) {
    body.append(denied("how much it logs", `command ${actor}.${instance}.log_level`));
    return { element, read: async () => {} };
  }
  const listed = h("dl.facts");
  const logger = h("input", { type: "text", value: "root", "aria-label": "Logger", list: `loggers-${actor}`, spellcheck: "false", autocomplete: "off" });
  const level = h("select", { "aria-label": "Level" }, ...LEVELS.map((each) => h("option", { value: each }, each)));
  const names = h("datalist", { id: `loggers-${actor}` }, ...["root", "actors", `actors.${actor}`, "router"].map((value) => h("option", { value })));
  const fault = h("p.fault-text", { role: "alert" });
  const show = ({ levels }) => {
    listed.replaceChildren(...Object.entries(levels).flatMap(([name, each]) => [h("dt", {}, name), h("dd", {}, each)]));
    if (levels[logger.value]) level.value = levels[logger.value];
    say(fault, "");
  };
  const ask = async (wish) => show(await client.command(actor, instance, "log_level", wish));
  const refuse = (problem) => {
    const why = { denied: `Your token may not: this needs the right to command ${actor}.${instance}.log_level.`, offline: "The server cannot be reached." };
    say(fault, why[kindOf(problem)] ?? sentence(problem.message));
  };
  const set = async (submit) => {
    submit.preventDefault();
    const wish = { logger: logger.value.trim(), level: level.value };
    try {
      await ask(wish);
      toast(`${actor} now logs ${wish.level} and above of ${wish.logger}.`);
    } catch (problem) {
      refuse(problem);
    }
  };
  body.append(
    listed,
    h("form.row-of-buttons", { onsubmit: set }, logger, names, level, h("button.quiet", { type: "submit" }, h("span", {}, "Set"))),
    fault,
    h("p.faint", {}, "It holds until the process ends."));
  return { element, read: asking(() => ask({}), { failed: refuse, needed: () => element.isConnected }) };
}
