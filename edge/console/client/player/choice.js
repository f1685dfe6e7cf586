/** Chooses the transport to play by: the best one that works here, and the better ones again later. */

// After how long (ms) a transport that failed is tried again: doubled with each failure, up to the most. One that was `outrun` may
// only have been slow to begin.
const AGAIN = { unsupported: 60_000, unreachable: 5_000, broken: 30_000, silent: 30_000, outrun: 3_000 };
const MOST = 600_000;
// For a browser to say whether it has a transport (ms); where it does not say, that is found out by trying.
const LEARNING = 3_000;
// So many failures of a kind in a row set a transport aside: one may be chance.
const FAILURES = { unsupported: 1, unreachable: 2, broken: 2, silent: 2, outrun: 1 };

export class Choice {
  #order;
  #aside = new Map();
  #failures = new Map();
  #unsupported = new Map();

  /** `order`: the transports, the best first. */
  constructor(order) {
    this.#order = order;
  }

  /** Asks each transport whether this browser has it. */
  async learn() {
    await Promise.all(this.#order.map(async (transport) => {
      const unsaid = new Promise((resolve) => setTimeout(resolve, LEARNING, null));
      const why = await Promise.race([transport.unsupported(), unsaid]).catch(() => null);
      if (why) this.#unsupported.set(transport, why);
    }));
  }

  /** The transports that are not used although they are better than this one, as `{ name, label, reason }`. */
  passed(chosen) {
    const better = this.#order.slice(0, Math.max(0, this.#order.indexOf(chosen)));
    return better.map((transport) => ({
      name: transport.name,
      label: transport.label,
      reason: this.#unsupported.get(transport) ?? this.#aside.get(transport)?.reason ?? "it is tried again",
    }));
  }

  /** Why none of them can be used; empty where one can. */
  get impossible() {
    return this.#order.every((transport) => this.#unsupported.has(transport)) ? [...this.#unsupported.values()].join("; ") : "";
  }

  /** The best one that may be tried now. Where all have failed, each gets another chance. */
  best(now) {
    const usable = this.#order.filter((transport) => !this.#unsupported.has(transport));
    const free = usable.find((transport) => (this.#aside.get(transport)?.until ?? 0) <= now);
    if (free || !usable.length) return free ?? null;
    this.#failures.clear();
    for (const entry of this.#aside.values()) entry.until = 0;
    return usable[0];
  }

  /** One that is better than what is played by and may be tried again now; null without one. */
  better(than, now) {
    const before = this.#order.slice(0, this.#order.indexOf(than));
    return before.find((transport) => !this.#unsupported.has(transport) && (this.#aside.get(transport)?.until ?? 0) <= now) ?? null;
  }

  /** The best of those behind it that may be tried now and show another codec; null without one. */
  other(than, now) {
    const behind = this.#order.slice(this.#order.indexOf(than) + 1);
    return behind.find((transport) => transport.codec !== than.codec && !this.#unsupported.has(transport) && (this.#aside.get(transport)?.until ?? 0) <= now) ?? null;
  }

  /** Whether the one is better than the other. */
  prefers(one, other) {
    return this.#order.indexOf(one) < this.#order.indexOf(other);
  }

  /** It plays: what went wrong before is over. */
  worked(transport) {
    this.#aside.delete(transport);
    for (const kind of Object.keys(FAILURES)) this.#failures.delete(`${transport.name} ${kind}`);
    this.#failures.delete(`${transport.medium} unreachable`);
  }

  /**
   * It failed; says whether it is set aside. Where its medium did not come about, all transports over that are; where a fault is
   * one `ofCodec`, all transports of that codec.
   */
  failed(transport, { kind, message, ofCodec = false }, now, audition = false) {
    if (!(kind in FAILURES)) {
      if (audition) this.#setAside(transport, message, AGAIN.unreachable, now);
      return audition;
    }
    const key = `${kind === "unreachable" ? transport.medium : transport.name} ${kind}`;
    const count = (this.#failures.get(key) ?? 0) + 1;
    this.#failures.set(key, count);
    if (count < FAILURES[kind] && !audition) return false;
    const alike = ({ medium, codec }) => (kind === "unreachable" && medium === transport.medium) || (ofCodec && codec === transport.codec);
    for (const each of this.#order.filter((other) => other === transport || alike(other))) this.#setAside(each, message, AGAIN[kind], now);
    return true;
  }

  /** Everything may be tried at once: the network has changed. */
  forgive() {
    for (const entry of this.#aside.values()) Object.assign(entry, { until: 0, times: 0 });
    this.#failures.clear();
  }

  #setAside(transport, reason, wait, now) {
    const times = (this.#aside.get(transport)?.times ?? 0) + 1;
    this.#aside.set(transport, { reason, times, until: now + Math.min(MOST, wait * 2 ** (times - 1)) });
  }
}
