/** Asks who is looking, where the server wants to know: a token, or a ticket for one, which stays in this tab and is in no address. */

import { ask } from "../client/http.js";
import { h, icon, say, show } from "./dom.js";
import { sentence } from "./parts/states.js";

export const KEPT = "callboard.token";

const WHY = {
  token_required: "This server shows events to people with a token.",
  bad_token: "That token is not valid here.",
  token_expired: "Your token has expired.",
  bad_ticket: "That ticket is spent or has expired: ask for a new one where you are signed in.",
};
// A token has dots in it.
const TICKET = /^[A-Za-z0-9_-]{43}$/;

/** The token that a ticket stands for, for which it is spent; a token is what it is. Throws as `ask` does. */
export async function tokenOf(base, given) {
  return TICKET.test(given) ? (await ask(base, "POST", "/tickets/redeem", { body: { ticket: given } })).token : given;
}

/** Fills `root`; `use(token)` is called with what was given. Returns `tell(code, reason)`; an empty code hides it. */
export function login(root, base, use) {
  const why = h("p");
  const token = h("input", { type: "password", placeholder: "Token or ticket", "aria-label": "Token or ticket", "aria-describedby": "login-why", autocomplete: "off", spellcheck: "false" });
  const keep = h("input", { type: "checkbox" });
  const form = h("form.login", { onsubmit: (submit) => { submit.preventDefault(); give(); } },
    icon("lock"), h("h2", {}, "Sign in"), why,
    h("div.row", {}, token, h("button.primary", { type: "submit" }, "Sign in")),
    h("label.flag", {}, keep, h("span", {}, "Keep it on this computer until I sign out")),
    h("p.faint", {}, "A token is made by ", h("code", {}, "callboard token"), " or by your identity provider; a ticket where you are signed in, under the connection at the top right. The token is kept in this tab, and sent to this server only."));
  why.id = "login-why";
  root.append(h("div.login-view", {}, form));
  let refused = "";
  const give = async () => {
    const text = token.value.trim();
    if (!text) return token.focus();
    token.value = "";
    refused = "";
    try {
      use(await tokenOf(base, text), keep.checked);
    } catch (fault) {
      refused = WHY[fault.code] ?? (fault.status ? sentence(fault.message) : "The server cannot be reached.");
      say(why, refused);
      token.focus();
    }
  };
  return (code, reason) => {
    const was = root.hidden;
    show(root, Boolean(code));
    if (!code) return;
    say(why, refused || (WHY[code] ?? reason));
    if (was) token.focus();
  };
}
