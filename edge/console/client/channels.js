/** A WebSocket of the real-time guide (`subscribe`, `unsubscribe`, `ping`), one per address for all components of a page. */

import { Backoff, Pause, reachable } from "./backoff.js";

// How long a server may be silent before it is asked by `ping`, and before the socket is given up (ms): it says `heartbeat` every 15 s.
const PING = 16_000;
const SILENCE = 18_000;
// How long a socket is kept when the last component has gone (ms).
const KEPT = 1_000;

const known = new Map();

export class Channels {
  static NONE = Object.freeze({ isConnected: false, error: null });

  /** The one of this address. */
  static of(url) {
    const address = new URL(url, globalThis.location?.href).href.replace(/^http/, "ws");
    if (!known.has(address)) known.set(address, new Channels(address));
    return known.get(address);
  }

  #address;
  #listeners = new Set();
  #watchers = new Set();
  #wanted = new Map();
  #socket = null;
  #life = null;
  #leaving = null;
  #pause = new Pause();
  #backoff = new Backoff();
  #state = Channels.NONE;

  constructor(address) {
    this.#address = address;
  }

  getSnapshot = () => this.#state;

  watch = (watcher) => this.#enter(this.#watchers, watcher);

  /** Calls `message`, `open`, `close`, `error` of a listener. */
  listen(listener) {
    if (this.#state.isConnected) listener.open();
    return this.#enter(this.#listeners, listener);
  }

  #enter(set, one) {
    set.add(one);
    clearTimeout(this.#leaving);
    if (!this.#life) {
      this.#life = new AbortController();
      this.#live(this.#life.signal);
    }
    return () => {
      set.delete(one);
      if (!this.#watchers.size && !this.#listeners.size) this.#leaving = setTimeout(() => this.#end(), KEPT);
    };
  }

  #end() {
    this.#life?.abort();
    this.#life = null;
    this.#wanted.clear();
    this.#set(Channels.NONE);
    known.delete(this.#address);
  }

  send(data) {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(data));
  }

  /** Counted: of two components that want a channel, one may leave it. */
  subscribe(type, id) {
    const key = `${type} ${id ?? ""}`;
    const count = this.#wanted.get(key)?.count ?? 0;
    this.#wanted.set(key, { channel: { type, id }, count: count + 1 });
    if (!count) this.send({ type: "subscribe", channel: { type, id } });
  }

  unsubscribe(type, id) {
    for (const [key, { channel, count }] of this.#wanted) {
      if (channel.type !== type || (id !== undefined && channel.id !== id)) continue;
      if (count > 1) this.#wanted.set(key, { channel, count: count - 1 });
      else {
        this.#wanted.delete(key);
        this.send({ type: "unsubscribe", channel });
      }
      return;
    }
  }

  async #live(signal) {
    const wake = () => this.#pause.wake();
    globalThis.addEventListener?.("online", wake, { signal });
    while (!signal.aborted) {
      if (reachable(this.#address.replace(/^ws/, "http"))) await this.#connect(signal);
      if (!signal.aborted) await this.#pause.for(this.#backoff.next(), signal);
    }
  }

  #connect(signal) {
    return new Promise((resolve) => {
      const socket = (this.#socket = new WebSocket(this.#address));
      let heard = Date.now();
      const watchdog = setInterval(() => {
        const idle = Date.now() - heard;
        if (idle > SILENCE) leave();
        else if (idle > PING) this.send({ type: "ping" });
      }, 1_000);
      const leave = () => {
        clearInterval(watchdog);
        socket.onmessage = socket.onclose = socket.onopen = null;
        socket.close();
        if (this.#state.isConnected) for (const listener of this.#listeners) listener.close();
        this.#set({ isConnected: false, error: signal.aborted ? null : new Error("WebSocket connection error") });
        resolve();
      };
      socket.onopen = () => {
        this.#backoff.reset();
        for (const { channel } of this.#wanted.values()) this.send({ type: "subscribe", channel });
        this.#set({ isConnected: true, error: null });
        for (const listener of this.#listeners) listener.open();
      };
      socket.onmessage = ({ data }) => {
        heard = Date.now();
        let said = data;
        try {
          said = JSON.parse(data);
        } catch {
          // Not of the guide: handed on as it is.
        }
        for (const listener of this.#listeners) listener.message(said);
      };
      socket.onclose = leave;
      signal.addEventListener("abort", leave, { once: true });
    });
  }

  #set(state) {
    if (state.isConnected === this.#state.isConnected && state.error?.message === this.#state.error?.message) return;
    this.#state = Object.freeze(state);
    for (const watcher of this.#watchers) watcher();
  }
}
