/** Asks who is looking, where the server wants to know: a token, which stays in this tab, and is in no address. */

import { h, icon, say, show } from "./dom.js";

export const KEPT = "callboard.token";

const WHY = {
  token_required: "This server shows events to people with a token.",
  bad_token: "That token is not valid here.",
  token_expired: "Your token has expired.",
  bad_ticket: "That token is not valid here.",
};

/** Fills `root`; `use(token)` is called with what was given. Returns `tell(code, reason)`; an empty code hides it. */
export function login(root, use) {
  const why = h("p");
  const token = h("input", { type: "password", placeholder: "eyJhbGciOi…", "aria-label": "Token", "aria-describedby": "login-why", autocomplete: "off", spellcheck: "false" });
  const keep = h("input", { type: "checkbox" });
  const form = h("form.login", { onsubmit: (submit) => { submit.preventDefault(); give(); } },
    icon("lock"), h("h2", {}, "Sign in"), why,
    h("div.row", {}, token, h("button.primary", { type: "submit" }, "Sign in")),
    h("label.flag", {}, keep, h("span", {}, "Keep it on this computer until I sign out")),
    h("p.faint", {}, "A token is made by ", h("code", {}, "callboard token"), " or by your identity provider. It is kept in this tab, and sent to this server only."));
  why.id = "login-why";
  root.append(h("div.login-view", {}, form));
  const give = () => {
    const text = token.value.trim();
    if (!text) return token.focus();
    token.value = "";
    use(text, keep.checked);
  };
  return (code, reason) => {
    const was = root.hidden;
    show(root, Boolean(code));
    if (!code) return;
    say(why, WHY[code] ?? reason);
    if (was) token.focus();
  };
}
