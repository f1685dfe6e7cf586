/** Deletes the dead letters that a filter matches, after it was typed that this is wanted. */

import { h, say } from "../../dom.js";
import { number } from "../../format.js";
import { dialog } from "../../parts/dialog.js";

const WORD = "delete";
// One request deletes a part of many (ms).
const PATIENCE = 30_000;

/** Repeats the request until all is done; `told(count)` hears how many so far, and stops it by returning false. */
async function run(client, filter, dry, told) {
  let cursor = null;
  let count = 0;
  do {
    const answer = await client.post("/deadletters/purge", { filter, dry_run: dry, ...(cursor ? { cursor } : {}) }, { patience: PATIENCE });
    count += answer.matched;
    cursor = answer.next;
    if (told(count, Boolean(cursor)) === false) break;
  } while (cursor);
  return count;
}

/** Returns a promise of how many were deleted, null where it was left. */
export async function purgeDialog({ client }, { what, filter }) {
  let left = false;
  const said = h("p.said", { role: "status" }, "Counting …");
  const typed = h("input", { type: "text", name: "confirmation", autocomplete: "off", spellcheck: "false", oninput: () => check() });
  const button = h("button.primary.danger", { type: "submit", disabled: true }, "Delete");
  const form = h("form.order", { onsubmit: (submit) => { submit.preventDefault(); erase(); } },
    h("p", {}, `${what}. What is deleted cannot be sent again, and does not come back.`),
    said,
    h("label.field", {}, h("span", {}, `Type “${WORD}” to confirm`), typed),
    h("div.row-of-buttons.end", {}, button));
  const made = dialog("Delete dead letters", form);
  typed.focus();
  let matched = null;
  const check = () => (button.disabled = !matched || typed.value.trim().toLowerCase() !== WORD);

  const erase = async () => {
    if (button.disabled) return;
    button.disabled = typed.disabled = true;
    try {
      const gone = await run(client, filter, false, (count) => {
        say(said, `${number(count)} of ${number(matched)} deleted`);
        return !left;
      });
      made.close(gone);
    } catch (fault) {
      say(said, `Not all could be deleted: ${fault.message}.`);
      typed.disabled = false;
      check();
    }
  };
  const count = async () => {
    try {
      matched = await run(client, filter, true, (found, more) => {
        say(said, `${number(found)}${more ? " so far …" : ` dead letter${found === 1 ? "" : "s"} will be deleted.`}`);
        return !left;
      });
      check();
    } catch (fault) {
      say(said, `They cannot be counted: ${fault.message}.`);
    }
  };
  made.closed.finally(() => (left = true));
  count();
  return made.closed;
}
