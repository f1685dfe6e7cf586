/** Reads a user's alerts as one subscription: those that are open, from the server's list, and then what becomes of them. */

import { Backoff } from "./backoff.js";
import { escapeToken } from "./tokens.js";

// So many of the open ones are asked for; a page keeps fewer.
const LISTED = 200;
// How long the list is waited for anew where it could not be read (ms), at first and at most.
const WAITS = { base: 1_000, cap: 10_000 };

/**
 * The alerts of a user and those without an audience; of everybody where no user is named. Of the two, what may not be read is left out.
 * Alerts that applications raise are in no list: the last ones of these come from the stream.
 */
export function openAlerts(board, userId) {
  const subjects = userId ? [`alert._${escapeToken(userId)}.>`, "alert.*.*"] : ["alert.>"];
  const streams = subjects.map((pattern) => board.subscribe({ subjects: [pattern], last: 50 }));
  const listeners = new Set();
  let closed = false;
  // What the stream has told of before the list is there: it knows better.
  let told = new Set();
  let listed = false;
  let timer = null;
  const backoff = new Backoff(WAITS);

  const list = async () => {
    const { alerts } = await board.get(`/alerts?state=active&limit=${LISTED}`);
    if (closed) return;
    for (const { id, state, ...alert } of alerts.reverse()) {
      if (told?.has(id) || (userId && alert.audience?.length && !alert.audience.includes(userId))) continue;
      for (const listener of listeners) listener({ event_type: state, data: { ...alert, alert: id }, timestamp: alert.timestamp, id });
    }
    told = null;
  };
  // Not before the past is there: what happens from then on comes by the stream, and what happened before is in the list.
  const settle = () => {
    if (listed || closed || !streams.every(({ state }) => state.phase === "live" || state.phase === "refused")) return;
    listed = true;
    list().then(() => backoff.reset(), () => {
      listed = false;
      clearTimeout(timer);
      timer = setTimeout(settle, backoff.next());
    });
  };
  const all = (method, ...given) => {
    const ends = streams.map((stream) => stream[method](...given));
    return () => ends.forEach((end) => end());
  };
  all("on", "*", ({ data }) => told?.add(data?.alert ?? data?.alertId));
  all("onState", settle);
  all("onNotice", ({ control }) => {
    if (control !== "gap") return;
    told = new Set();
    listed = false;
    settle();
  });
  return {
    get state() {
      const open = streams.map(({ state }) => state).filter(({ phase }) => phase !== "refused");
      return open.find(({ phase }) => phase !== "live") ?? open[0] ?? streams[0].state;
    },
    on(_type, listener) {
      listeners.add(listener);
      return all("on", "*", listener);
    },
    onState(listener) {
      return all("onState", () => listener(this.state));
    },
    close() {
      closed = true;
      clearTimeout(timer);
      streams.forEach((stream) => stream.close());
    },
  };
}
