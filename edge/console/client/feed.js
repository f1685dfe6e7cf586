/** Folds subscriptions into values that components share: one per board and key, however many ask and however often. */

// How long a value is kept when the last who looked at it has gone (ms): StrictMode and routers leave and come back at once.
const KEPT = 1_000;

const feeds = new WeakMap();

/** What a component has to show: `value` as it was folded, and how the connection is. */
const shot = (value, { phase = "idle", reason = "" } = {}) =>
  Object.freeze({ value, phase, isConnected: phase === "live", isLoading: phase === "connecting" || phase === "waiting", error: phase === "refused" ? new Error(reason) : null });

class Feed {
  #watchers = new Set();
  #subscription = null;
  #leaving = null;
  #told = false;
  #open;
  #fold;

  /** `open(board)` gives a subscription, `fold(value, event)` the next value. */
  constructor(board, { open, fold, initial }, forget) {
    this.board = board;
    this.forget = forget;
    this.#open = open;
    this.#fold = fold;
    this.snapshot = shot(initial);
  }

  watch(watcher) {
    this.#watchers.add(watcher);
    clearTimeout(this.#leaving);
    if (!this.#subscription) this.#begin();
    return () => {
      this.#watchers.delete(watcher);
      if (!this.#watchers.size) this.#leaving = setTimeout(() => this.#end(), KEPT);
    };
  }

  #begin() {
    this.#subscription = this.#open(this.board);
    this.#subscription.on("*", (event) => this.#set(this.#fold(this.snapshot.value, event), this.#subscription.state));
    this.#subscription.onState((state) => this.#set(this.snapshot.value, state));
  }

  #end() {
    this.#subscription.close();
    this.forget();
  }

  /** Replaces the value at once, as a component does that knows better. */
  put(value) {
    this.#set(value, this.#subscription?.state);
  }

  #set(value, state) {
    const next = shot(value, state);
    const same = value === this.snapshot.value && next.phase === this.snapshot.phase;
    if (same) return;
    this.snapshot = next;
    // Whoever looks is told once, however many events came together.
    if (this.#told) return;
    this.#told = true;
    queueMicrotask(() => {
      this.#told = false;
      for (const watcher of this.#watchers) watcher();
    });
  }
}

/** A handle of one value. Nothing is opened before somebody watches, so that a render that is thrown away leaves nothing. */
export class Handle {
  #initial;

  constructor(board, key, recipe) {
    this.board = board;
    this.key = key;
    this.recipe = recipe;
    this.#initial = shot(recipe.initial);
  }

  get #feed() {
    return feeds.get(this.board)?.get(this.key);
  }

  subscribe = (watcher) => {
    if (!feeds.has(this.board)) feeds.set(this.board, new Map());
    const known = feeds.get(this.board);
    if (!known.has(this.key)) known.set(this.key, new Feed(this.board, this.recipe, () => known.delete(this.key)));
    return known.get(this.key).watch(watcher);
  };

  getSnapshot = () => this.#feed?.snapshot ?? this.#initial;

  put(value) {
    this.#feed?.put(value);
  }
}
