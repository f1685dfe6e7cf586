/** Runs one probe and measures what comes of it. */

// How long (ms) a probe may take to its first picture, and how long it is then watched.
const FIRST = 10_000;
const WATCHED = 4_000;
// Ages of pictures that are kept for the percentiles.
const MOST = 1_000;

const percentile = (ages, part) => (ages.length ? [...ages].sort((a, b) => a - b)[Math.min(ages.length - 1, Math.floor(ages.length * part))] : null);

/** The figures of one run: pictures, bytes, rates, latency. */
export class Figures {
  #began = performance.now();
  #first = null;
  #last = null;
  #ages = [];
  #times = [];
  frames = 0;
  bytes = 0;
  size = null;

  picture(bytes, age, about) {
    const now = performance.now();
    this.#first ??= now;
    this.#last = now;
    this.frames += 1;
    this.bytes += bytes;
    if (about?.width && about?.height) this.size = `${about.width} × ${about.height}`;
    // The first picture of a connection may be of before, and a repeat is: their ages are no latency.
    if (Number.isFinite(age) && this.frames > 1 && about?.fresh !== false) this.#ages.push(age);
    if (this.#ages.length > MOST) this.#ages.shift();
    this.#times.push(now);
    while (this.#times[0] < now - 2_000) this.#times.shift();
  }

  /** Pictures of the last two seconds, a second; 0 once none comes. */
  get fps() {
    const now = performance.now();
    const recent = this.#times.filter((at) => at >= now - 2_000);
    return this.#first === null ? 0 : recent.length / Math.max(0.5, Math.min(2, (now - this.#first) / 1_000));
  }

  /** Over the whole run. */
  get meanFps() {
    return this.frames > 1 ? (this.frames - 1) / ((this.#last - this.#first) / 1_000) : this.frames;
  }

  get firstAfter() {
    return this.#first === null ? null : this.#first - this.#began;
  }

  get bytesPerSecond() {
    return this.#first === null ? 0 : this.bytes / Math.max(0.5, (this.#last - this.#first) / 1_000);
  }

  get latency() {
    return { p50: percentile(this.#ages, 0.5), p99: percentile(this.#ages, 0.99) };
  }
}

/**
 * Runs a probe for a few seconds after its first picture, or, with `forever`, until `link.signal` aborts.
 *
 * Returns `{works, reason, figures}`.
 */
export async function measure(probe, link, forever = false) {
  const life = new AbortController();
  const figures = new Figures();
  const end = () => life.abort();
  link.signal.addEventListener("abort", end, { once: true });
  let timer = setTimeout(end, FIRST);
  const mine = Object.create(link, {
    signal: { value: life.signal },
    reason: { value: "", writable: true },
    picture: {
      value: (bytes, age, about) => {
        if (!figures.frames) {
          clearTimeout(timer);
          timer = forever ? 0 : setTimeout(end, WATCHED);
        }
        figures.picture(bytes, age, about);
        link.told(figures);
      },
    },
  });
  if (forever) clearTimeout(timer);
  link.told(figures);
  let reason = "";
  try {
    if (link.signal.aborted) end();
    await probe.run(mine);
  } catch (fault) {
    if (!life.signal.aborted) reason = fault.message;
  } finally {
    clearTimeout(timer);
    link.signal.removeEventListener("abort", end);
    end();
  }
  if (!reason && !figures.frames) {
    reason = link.signal.aborted ? "ended before the first picture" : mine.reason || `no picture within ${FIRST / 1_000} s`;
  }
  return { works: !reason && figures.frames > 0, reason, figures };
}
