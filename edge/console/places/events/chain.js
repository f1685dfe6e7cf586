/** Finds what led to an event, and what came of it: each event names the one that caused it. */

import { byId, causedBy } from "./query.js";

// A chain that is longer than this is shown in part.
const CAUSES = 20;
const EFFECTS = 50;
// Pages that are scanned for one event, and for what came of one. The server answers with a page once it has looked for some
// milliseconds: on a busy one that is not many events.
const PAGES = 200;

async function scan(ask, query, start, most) {
  const found = [];
  let position = start;
  for (let page = 0; page < PAGES && found.length < most; page += 1) {
    const answer = await ask({ ...query, ...position, limit: Math.min(500, most) });
    found.push(...answer.events);
    if (!answer.has_more) break;
    position = { cursor: answer.next };
  }
  return found.slice(0, most);
}

/** One event by its id, looked for from its own time on; null where it is not kept (any more). */
export async function eventById(ask, id) {
  const { filter, since } = byId(id);
  return (await scan(ask, { filter }, since ? { since } : { cursor: "earliest" }, 1))[0] ?? null;
}

/** `{ causes, effects, lost }`: the causes from the first on; `lost` is the id of one that is not kept. */
export async function chainOf(ask, event) {
  const causes = [];
  let lost = null;
  for (let id = event.cause; id && causes.length < CAUSES; id = causes[0].cause) {
    const cause = await eventById(ask, id);
    if (!cause) {
      lost = id;
      break;
    }
    causes.unshift(cause);
  }
  return { causes, lost, effects: await scan(ask, { filter: causedBy(event.id) }, { cursor: event.cursor }, EFFECTS) };
}
