/** Asks again for what could not be read since the network failed, or the server could not answer just then. */

import { Backoff } from "../../client/backoff.js";

// Milliseconds between two tries: at least so many, and longer each time, up to the cap.
const LEAST = 500;
const WAITS = { base: 1_000, cap: 10_000 };
// A box that says that something could not be read asks again after so long at first (ms), and at most.
const SOON = 3_000;
const LATE = 15_000;
// How much longer each wait of such a box is than the one before.
const SLOWER = 1.5;

/** Whether another try may change a fault: the network failed, or the server could not answer just then. */
export function passing(fault) {
  return !fault?.status || fault.status >= 500 || fault.status === 429 || fault.status === 408;
}

/**
 * Returns `{ after(fault), done(), stop() }`. `after` calls `ask()` in a while where the fault may pass, and later each time until `done`. Nothing is
 * asked while nobody looks at the page, nor where `needed()` is false by then.
 */
export function retrying(ask, needed = () => true) {
  const backoff = new Backoff(WAITS);
  let timer = null;
  const plan = (least) => {
    clearTimeout(timer);
    timer = setTimeout(look, Math.max(least, LEAST, backoff.next()));
  };
  const look = () => {
    if (document.hidden) plan(LEAST);
    else if (needed()) ask();
  };
  return {
    after: (fault) => passing(fault) && plan(fault?.retryAfter ?? 0),
    done() {
      clearTimeout(timer);
      backoff.reset();
    },
    stop: () => clearTimeout(timer),
  };
}

/** Returns a function that calls `read()`, which throws where it fails, and again as long as that may pass; each fault is told to `failed`. */
export function asking(read, { failed = () => {}, needed } = {}) {
  let turn = 0;
  const ask = async () => {
    const mine = (turn += 1);
    try {
      await read();
      if (mine === turn) retry.done();
    } catch (fault) {
      if (mine !== turn) return;
      failed(fault);
      retry.after(fault);
    }
  };
  const retry = retrying(ask, needed);
  return ask;
}

/** Calls `again` every few seconds while an element is in the page and somebody looks. */
export function whileShown(element, again) {
  let wait = SOON;
  const look = () => {
    if (!element.isConnected) return;
    if (!document.hidden) again();
    wait = Math.min(LATE, wait * SLOWER);
    setTimeout(look, wait);
  };
  setTimeout(look, wait);
}
