/** Shows one command of an actor: what it does, a form for its arguments, and what the actor answered. */

import { h, icon, worded } from "../../dom.js";
import { milliseconds } from "../../format.js";
import { jsonView } from "../../parts/json.js";
import { kindOf, sentence } from "../../parts/states.js";
import { argumentsForm } from "./form.js";

// A command may take as long as it does (s); an answer that comes later is lost, and what was asked for may happen all the same.
const PATIENCE = 30;

/** Why a command was not carried out, or may not have been. */
function refusal(fault, address) {
  const box = (tone, title, text) => h(`div.outcome.${tone}`, { role: "status" }, icon("alert"), h("div", {}, h("strong", {}, title), h("p", {}, text)));
  if (fault.code === "command_unanswered" || fault.name === "TimeoutError") return box("warn", "No answer came", "It may have been carried out all the same. Look at what the actor says of itself before you give it again.");
  if (fault.code === "command_not_found") return box("bad", "Nobody serves this command now", sentence(fault.message));
  if (fault.code === "command_failed") return box("bad", "The actor failed at it", `${sentence(fault.message)} Its log says more under that number.`);
  if (kindOf(fault) === "denied") return box("bad", "Your token may not give this command", `This needs the right to command ${address}.`);
  if (kindOf(fault) === "offline") return box("bad", "The server cannot be reached", "The command may not have arrived.");
  return box("bad", "The actor refuses", sentence(fault.message));
}

/** `granted` false: the command is there, and the token may not give it. Returns an element with `open`. */
export function commandCard(context, { actor, instance, name, about = "", schema = null }, { granted = true, opened = () => {} } = {}) {
  const address = `${actor}.${instance}.${name}`;
  const element = h("details.command-card", { dataset: { command: name } },
    h("summary", {}, icon("chevron"), h("code", {}, name), h("span.about", {}, granted ? worded(about) : `needs the right to command ${address}`), granted ? null : icon("lock")));
  if (!granted) {
    element.classList.add("withheld");
    element.append(h("p.faint.inside", {}, `Your token may not give this command. It needs the right to command ${address}, or a wider one.`));
    return element;
  }
  // The form is made when it is wanted: an Octane has some forty commands.
  let made = false;
  element.addEventListener("toggle", () => {
    if (element.open) opened(name);
    if (made || !element.open) return;
    made = true;
    element.append(form(context, { actor, instance, name, address, schema }));
  });
  return element;
}

function form({ client }, { actor, instance, name, address, schema }) {
  const { element: fields, read } = argumentsForm(schema);
  const outcome = h("div.answer", { "aria-live": "polite" });
  const give = h("button.primary", { type: "submit" }, `Give ${name}`);
  return h("form.inside", { novalidate: true, onsubmit: send }, fields, h("div.row-of-buttons", {}, give), outcome);

  async function send(submit) {
    submit.preventDefault();
    const body = read();
    if (!body || give.disabled) return;
    give.disabled = true;
    const begun = performance.now();
    try {
      const answer = await client.command(actor, instance, name, body, { timeout: PATIENCE });
      const took = milliseconds(performance.now() - begun);
      outcome.replaceChildren(
        h("div.outcome.ok", { role: "status" }, icon("check"), h("div", {}, h("strong", {}, `Answered in ${took}`), answer === null && h("p", {}, "It has nothing more to say."))),
        ...(answer === null ? [] : [jsonView(answer, { label: `Answer of ${address}` })]));
    } catch (fault) {
      outcome.replaceChildren(refusal(fault, address));
    }
    give.disabled = false;
  }
}
