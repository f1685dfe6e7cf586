/** Times the waits between tries. */

export class Backoff {
  #tries = 0;

  /** The ceiling doubles from `base` to `cap` milliseconds. */
  constructor({ base = 300, cap = 10_000 } = {}) {
    this.base = base;
    this.cap = cap;
  }

  /** Full jitter: anything up to the ceiling, so that clients which lost the same server do not return together. */
  next(hint = 0) {
    const ceiling = Math.min(this.cap, Math.max(this.base, hint) * 2 ** Math.min(this.#tries, 16));
    this.#tries += 1;
    return ceiling * Math.random();
  }

  reset() {
    this.#tries = 0;
  }
}

/** A wait that ends by time, by `wake()`, or by its signal. */
export class Pause {
  #wake = () => {};

  async for(milliseconds, signal) {
    if (signal.aborted) return;
    await new Promise((resolve) => {
      const timer = Number.isFinite(milliseconds) ? setTimeout(resolve, milliseconds) : null;
      signal.addEventListener("abort", resolve, { once: true });
      this.#wake = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", resolve);
        resolve();
      };
    });
    this.wake();
  }

  wake() {
    this.#wake();
    this.#wake = () => {};
  }
}

const LOOPBACK = /^(localhost|127\.|\[?::1\]?$)|\.localhost$/;

/** Whether trying makes sense. A machine without a network still reaches itself. */
export function reachable(url) {
  return globalThis.navigator?.onLine !== false || LOOPBACK.test(new URL(url).hostname);
}

export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** How long a refusal is waited after; for ever where another try would change nothing. */
export const later = ({ status, retryAfter }, backoff) =>
  status === 429 || status === 408 || status >= 500 ? Math.max(retryAfter, backoff.next()) : Infinity;
