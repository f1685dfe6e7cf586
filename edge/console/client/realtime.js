/**
 * Publishes in the shapes of the real-time guide, in Node and in browsers:
 *
 *     await getChannelManager().publish({ type: "job_progress", id: jobId }, { type: "job_progress", jobId, progress: 0.5 });
 */

import { unique } from "./http.js";
import { Board } from "./index.js";

const environment = (name) => globalThis.process?.env?.[name];

export class ChannelManager {
  #board;

  /** `url` and `token` as `connect` has them; without them CALLBOARD_URL and CALLBOARD_TOKEN say so, or the page's own origin. */
  constructor({ url, token, ...options } = {}) {
    const base = url ?? environment("CALLBOARD_URL") ?? (globalThis.document ? undefined : "http://127.0.0.1:8000");
    this.#board = new Board(base, { token: token ?? environment("CALLBOARD_TOKEN") ?? null, ...options });
  }

  /**
   * Stores an event of a channel `{ type, id?, userId? }`, once: where the answer was lost it is sent again. Returns its
   * `{ id, cursor }`; throws a `Refusal` where the server will not have it.
   */
  async publish(channel, event) {
    const { events } = await this.#board.store({ channel, event });
    return events[0];
  }

  close() {
    this.#board.close();
  }
}

let shared = null;

/** The one of this program; `options` count the first time. */
export function getChannelManager(options) {
  shared ??= new ChannelManager(options);
  return shared;
}

/** An alert; `more` may have `actionRequired`, `entityId`, `entityType`, `actions`. */
export function createAlertEvent(severity, category, title, message, more = {}) {
  return { type: "alert", alertId: `alert_${unique()}`, severity, category, title, message, actionRequired: false, ...more, timestamp: new Date().toISOString() };
}
