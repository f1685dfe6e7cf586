/** Gives a ticket with which the viewer signs in at another browser: it stands for this page's token, once and for a short time. */

import { copyButton, h, icon, say, show } from "./dom.js";
import { sentence } from "./parts/states.js";

/** Returns `button`, `element` for what it says, and `tell(signedIn)`. */
export function handover(client) {
  const ticket = h("code");
  const told = h("p.faint", { role: "status" });
  const shown = h("div.command", { hidden: true }, ticket, copyButton("Copy", () => ticket.textContent));
  const ask = async () => {
    try {
      const answer = await client.post("/tickets", { sign_in: true });
      say(ticket, answer.ticket);
      show(shown, true);
      say(told, `Give it at the sign-in of the other browser within ${Math.round(answer.expires_in / 60)} minutes. It works once.`);
    } catch (fault) {
      show(shown, false);
      say(told, fault.status ? `There is no ticket. ${sentence(fault.message)}` : "The server cannot be reached.");
    }
  };
  const button = h("button.quiet", { type: "button", hidden: true, onclick: ask }, icon("lock"), h("span", {}, "Sign in elsewhere"));
  return { button, element: h("div", {}, shown, told), tell: (signedIn) => show(button, signedIn) };
}
