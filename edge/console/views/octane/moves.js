/** Sends moves of the camera: summed up, ten a second at most, one at a time, and the rest at once on release. */

const BETWEEN = 100;
// After a refusal (ms): a drag that Octane refuses is not refused ten times a second.
const AFTER_FAULT = 1_000;

/** How two moves of one kind add up. */
const SUM = {
  orbit: (a, b) => ({ dx: a.dx + b.dx, dy: a.dy + b.dy }),
  pan: (a, b) => ({ dx: a.dx + b.dx, dy: a.dy + b.dy }),
  dolly: (a, b) => ({ factor: a.factor * b.factor }),
};

export class CameraMoves {
  #send;
  #onFault;
  #now;
  #waiting = new Map();
  #timer = null;
  #sending = false;
  #next = 0;
  #released = false;

  /** `send(name, values)` gives one command and resolves when it was answered; `onFault` hears why one failed. */
  constructor(send, onFault, now = () => performance.now()) {
    this.#send = send;
    this.#onFault = onFault;
    this.#now = now;
  }

  /** Adds a move: `add("orbit", { dx, dy })`, `add("pan", { dx, dy })`, `add("dolly", { factor })`. */
  add(name, values) {
    const before = this.#waiting.get(name);
    this.#waiting.set(name, before ? SUM[name](before, values) : values);
    this.#released = false;
    this.#schedule();
  }

  /** Sends what is left now: the hand has let go. */
  release() {
    this.#released = true;
    this.#schedule();
  }

  /** Forgets what has not been sent: somebody else took the camera, or the view is another Octane's. */
  drop() {
    this.#waiting.clear();
    clearTimeout(this.#timer);
    this.#timer = null;
  }

  #schedule() {
    if (this.#sending || !this.#waiting.size) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#deliver(), this.#released ? 0 : Math.max(0, this.#next - this.#now()));
  }

  async #deliver() {
    this.#timer = null;
    const [first] = this.#waiting;
    if (!first || this.#sending) return;
    const [name, values] = first;
    this.#waiting.delete(name);
    this.#sending = true;
    this.#next = this.#now() + BETWEEN;
    try {
      await this.#send(name, values);
    } catch (fault) {
      this.drop();
      this.#next = this.#now() + AFTER_FAULT;
      this.#released = false;
      this.#onFault(fault);
    } finally {
      this.#sending = false;
      this.#schedule();
    }
  }
}
