/** Backoff: how long a client waits before it reconnects. */

export class Backoff {
  #tries = 0;

  /** Doubles from `base` up to `cap` milliseconds, each time somewhere in the upper half, so that many clients do not return as one. */
  constructor({ base = 300, cap = 10_000 } = {}) {
    this.base = base;
    this.cap = cap;
  }

  get tries() {
    return this.#tries;
  }

  next() {
    const ceiling = Math.min(this.cap, this.base * 2 ** Math.min(this.#tries, 16));
    this.#tries += 1;
    return ceiling * (0.5 + Math.random() / 2);
  }

  reset() {
    this.#tries = 0;
  }
}

/** A wait that can be cut short: by time, by `wake()`, or by the signal it was made with. */
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
  return navigator.onLine !== false || LOOPBACK.test(new URL(url).hostname);
}
