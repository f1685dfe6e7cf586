/** Counts what a player receives and paints, and gives the figures of the last seconds. */

// For how long (ms) ages of pictures count: long enough for a p99 to mean something at 10 pictures a second.
const KEPT = 10_000;
const MOST = 2_400;

const percentile = (sorted, part) => (sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] : null);

export class Tally {
  #since = performance.now();
  #received = 0;
  #painted = 0;
  #bytes = 0;
  #ages = [];
  /** Totals since the player was made. `dropped` by reason: late, superseded, decoder, broken. */
  totals = { received: 0, painted: 0, repeats: 0, bytes: 0, dropped: { late: 0, superseded: 0, decoder: 0, broken: 0 } };

  received(bytes) {
    this.#received += 1;
    this.totals.received += 1;
    this.weighed(bytes);
  }

  weighed(bytes) {
    this.#bytes += bytes;
    this.totals.bytes += bytes;
  }

  /** `age` in ms from the capture to the paint; null where nobody knows. */
  painted(age) {
    this.#painted += 1;
    this.totals.painted += 1;
    if (age !== null) this.#ages.push([performance.now(), age]);
    if (this.#ages.length > MOST) this.#ages.splice(0, this.#ages.length - MOST);
  }

  repeated() {
    this.totals.repeats += 1;
  }

  dropped(reason) {
    this.totals.dropped[reason] += 1;
  }

  /** Rates since it was last asked; latencies of the last ten seconds. */
  read() {
    const now = performance.now();
    const seconds = Math.max(0.001, (now - this.#since) / 1_000);
    const old = this.#ages.findIndex(([at]) => at >= now - KEPT);
    this.#ages.splice(0, old < 0 ? this.#ages.length : old);
    const sorted = this.#ages.map(([, age]) => age).sort((a, b) => a - b);
    const { received, painted, repeats, bytes, dropped } = this.totals;
    const figures = {
      fps: this.#painted / seconds,
      receivedFps: this.#received / seconds,
      bytesPerSecond: this.#bytes / seconds,
      latency: { p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99) },
      received, painted, repeats, bytes,
      dropped: { ...dropped },
    };
    this.#since = now;
    this.#received = this.#painted = this.#bytes = 0;
    return figures;
  }
}
