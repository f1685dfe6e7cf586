/** Speaks to the routes of the rules: their text goes as YAML, and changes name the version that they are of. */

import { ask, bearer, Refusal } from "../../../client/http.js";

const PATIENCE = 15_000;

/** Posts or puts the text of a rule; `version` is the one that is changed. Throws Refusal. */
export async function sendText({ client }, method, path, text, version = null) {
  const response = await fetch(client.base + path, {
    method,
    headers: { ...bearer(await client.board.proof()), "Content-Type": "application/yaml", ...(version && { "If-Match": `"${version}"` }) },
    body: text,
    cache: "no-store",
    signal: AbortSignal.timeout(PATIENCE),
  });
  if (!response.ok) throw await Refusal.of(response);
  return response.json();
}

/** The mistakes in a text: `[{ field, reason, line, column }]`, and the rule that it would be. */
export const validate = (context, text) => sendText(context, "POST", "/rules/validate", text);

/** Deletes a rule, or ends a back-test. Throws Refusal. */
export async function remove({ client }, path, version = null) {
  return ask(client.base, "DELETE", path, { token: await client.board.proof(), headers: version ? { "If-Match": `"${version}"` } : {} });
}
