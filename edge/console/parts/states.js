/** Says in the place of content why there is none: loading, nothing there, not allowed, not found, offline, or a fault. */

import { h, icon, lesson } from "../dom.js";
import { passing, whileShown } from "./again.js";

const box = (kind, picture, title, text, ...more) =>
  h("div.lesson.state", { role: "status", dataset: { kind } }, picture && icon(picture), h("p.lesson-title", {}, title), text && h("p", {}, text), ...more);

/** Content is on its way. */
export function loading(what = "") {
  return h("div.lesson.state.loading", { role: "status", dataset: { kind: "loading" } }, h("span.spinner", { "aria-hidden": "true" }), h("p", {}, what ? `Reading ${what} …` : "Loading …"));
}

/** There is nothing: what would be here, and, where there is one, a command to try. */
export function nothing({ icon: picture = "info", title, text, command = null, action = null }) {
  const element = lesson(picture, title, text, command);
  element.classList.add("state");
  element.dataset.kind = "empty";
  if (action) element.append(action);
  return element;
}

/** The token does not allow it; `right` is what would: "read camera.>", "operate". */
export function denied(what, right, detail = "") {
  const missing = right ? `This needs the right to ${right}.` : "";
  return box("denied", "lock", `Your token may not see ${what}`, [missing, detail].filter(Boolean).join(" "));
}

/** There is no such thing (any more). */
export function missing(what, text = "It may have been deleted, or be older than what is kept.") {
  return box("missing", "question", `There is no ${what}`, text);
}

/** What kind a fault of `client.get` and the like is: denied, missing, offline or failed. */
export function kindOf(fault) {
  if (fault?.status === 401 || fault?.status === 403) return "denied";
  if (fault?.status === 404) return "missing";
  return fault?.status ? "failed" : "offline";
}

/**
 * What a fault says in the place of `what` ("the dead letters"), with a button that calls `again`. A fault that may pass calls it by itself, too, as long
 * as it is shown.
 */
export function faulty(fault, what, { right = "", again = null } = {}) {
  const kind = kindOf(fault);
  if (kind === "denied") return denied(what, right, sentence(fault.message));
  if (kind === "missing") return missing(what, sentence(fault.message));
  const retry = again && h("button.quiet", { type: "button", onclick: again }, icon("restart"), h("span", {}, "Try again"));
  const said = kind === "offline"
    ? box("offline", "alert", "The server cannot be reached", `So ${what} cannot be read just now.`, retry)
    : box("failed", "alert", `${capital(what)} could not be read`, sentence(fault.message), retry);
  if (again && passing(fault)) whileShown(said, again);
  return said;
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** A message of the server as a sentence. */
export const sentence = (text) => (text ? `${capital(String(text))}${/[.!?]$/.test(text) ? "" : "."}` : "");
