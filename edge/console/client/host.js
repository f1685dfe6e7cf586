/** Serves the subscriptions of all tabs: in a SharedWorker, in the tab that leads, or in the only one. */

import { Channel, Subscriber } from "./channel.js";
import { Source } from "./source.js";

// A tab that said nothing for so long is gone (ms): browsers let hidden tabs speak once a minute.
const GONE = 180_000;
// How long a channel without readers is kept (ms): a page that is loaded anew takes it up again.
const LINGER = 500;
// For a tab to give a token (ms).
const TELLING = 5_000;

export class Host {
  #ports = new Map();
  #channels = new Map();
  #last = new Map();

  constructor() {
    const sweep = setInterval(() => this.#sweep(), GONE / 3);
    // Node ends when nothing else is left to do.
    sweep.unref?.();
  }

  /** A message of a tab; `post` answers it. Each tab is known by its port, which is anything that stays the same. */
  receive(port, message, post) {
    if (!this.#ports.has(port)) {
      if (message.do === "leave" || message.do === "close") return;
      this.#ports.set(port, { post, subscriptions: new Map(), hidden: false, heard: 0, asked: new Set() });
      this.#count();
      // After a long silence it was forgotten: its subscriptions are unknown here.
      if (message.do === "alive" || message.do === "ack") post({ say: "hello" });
    }
    const tab = this.#ports.get(port);
    tab.heard = Date.now();
    const subscription = tab.subscriptions.get(message.id);
    if (message.do === "open") this.#open(tab, message);
    else if (message.do === "close") this.#close(tab, message.id);
    else if (message.do === "ack") subscription?.subscriber.acknowledge(message.count);
    else if (message.do === "retry") subscription?.channel.retry();
    else if (message.do === "tell") this.#told(tab, message);
    else if (message.do === "page") this.#page(tab, message);
    else if (message.do === "alive") post({ say: "alive" });
    else if (message.do === "leave") this.#leave(port, message.last);
  }

  #open(tab, { id, key, way, rest, read, token }) {
    this.#close(tab, id);
    const send = (message) => tab.post({ id, ...message });
    const subscriber = new Subscriber(send, read);
    if (token !== undefined) this.#last.set(key, token);
    for (let room = 0; ; room += 1) {
      const name = `${key} ${room}`;
      const found = this.#channels.get(name) ?? this.#make(name, key, way, rest);
      if (!found.channel.fits(subscriber) && found.channel.size) continue;
      clearTimeout(found.lingering);
      tab.subscriptions.set(id, { subscriber, channel: found.channel, name });
      found.channel.add(subscriber);
      return;
    }
  }

  #make(name, key, way, rest) {
    const asks = {
      token: async (anew) => {
        if (anew || way.renewable) this.#last.set(key, await this.#ask(name, "token", this.#last.get(key)));
        return this.#last.get(key) ?? null;
      },
      ticket: () => this.#ask(name, "ticket", null),
    };
    const made = { channel: new (way.source ? Source : Channel)(way, rest, asks), lingering: null };
    this.#channels.set(name, made);
    return made;
  }

  /** Asks a tab that reads by this channel: tokens are the page's to get. */
  async #ask(name, what, otherwise) {
    for (const tab of this.#ports.values()) {
      for (const [id, subscription] of tab.subscriptions) {
        if (subscription.name !== name) continue;
        tab.post({ id, say: "ask", what });
        return new Promise((resolve) => {
          const question = { what, resolve };
          tab.asked.add(question);
          setTimeout(() => this.#answer(tab, question, otherwise), TELLING);
        });
      }
    }
    return otherwise;
  }

  #told(tab, { what, value }) {
    for (const question of tab.asked) if (question.what === what) this.#answer(tab, question, value);
  }

  #answer(tab, question, value) {
    tab.asked.delete(question);
    question.resolve(value);
  }

  #close(tab, id) {
    const found = tab.subscriptions.get(id);
    if (!found) return;
    tab.subscriptions.delete(id);
    found.channel.remove(found.subscriber);
    const kept = this.#channels.get(found.name);
    if (found.channel.size || !kept) return;
    clearTimeout(kept.lingering);
    kept.lingering = setTimeout(() => {
      if (found.channel.size) return;
      found.channel.close();
      this.#channels.delete(found.name);
    }, LINGER);
  }

  #page(tab, { hidden, woke }) {
    tab.hidden = hidden;
    const resting = hidden && [...this.#ports.values()].every((each) => each.hidden);
    for (const { channel } of this.#channels.values()) {
      channel.rest(resting);
      if (woke) channel.suspect();
    }
  }

  /** `last`: the page was the only one, and has deleted its sessions. */
  #leave(port, last = false) {
    const tab = this.#ports.get(port);
    if (!tab) return;
    this.#ports.delete(port);
    for (const id of [...tab.subscriptions.keys()]) this.#close(tab, id);
    if (last && !this.#ports.size) this.end();
    else this.#count();
  }

  /** Tells each tab how many there are: the last one deletes its sessions itself, for a worker ends with it. */
  #count() {
    for (const { post } of this.#ports.values()) post({ say: "tabs", count: this.#ports.size });
  }

  #sweep() {
    for (const [port, tab] of [...this.#ports]) if (Date.now() - tab.heard > GONE) this.#leave(port);
  }

  /** Leaves the server at once. */
  end() {
    for (const port of [...this.#ports.keys()]) this.#leave(port);
    for (const { channel, lingering } of this.#channels.values()) {
      clearTimeout(lingering);
      channel.close();
    }
    this.#channels.clear();
  }
}
