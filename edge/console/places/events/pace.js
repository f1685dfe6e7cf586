/** Watches how long frames take while events come, and says when the page cannot keep up. */

// A frame that takes longer than this is one too many (ms), and so many of the last ones must.
const LONG = 50;
const [OF, LATE] = [12, 8];
// A page that was put aside for a moment was not slow (ms).
const AWAY = 1_000;

export class Pace {
  #late;
  #frames = [];
  #rates = new Array(5).fill(0);
  #second = 0;

  /** `late()` is called when most of the last frames took too long. */
  constructor(late) {
    this.#late = late;
  }

  /** A frame in which events were drawn: how long it took until the next one (ms). */
  frame(took) {
    if (took > AWAY) {
      this.#frames = [];
      return;
    }
    this.#frames.push(took);
    if (this.#frames.length > OF) this.#frames.shift();
    if (this.#frames.length === OF && this.#frames.filter((each) => each > LONG).length >= LATE) {
      this.#frames = [];
      this.#late();
    }
  }

  count(events, now) {
    this.#roll(now);
    this.#rates[this.#rates.length - 1] += events;
  }

  #roll(now) {
    const second = Math.floor(now / 1000);
    for (let step = Math.min(5, second - this.#second); step > 0; step -= 1) {
      this.#rates.shift();
      this.#rates.push(0);
    }
    this.#second = second;
  }

  /** Events a second over the last four whole ones. */
  rate(now) {
    this.#roll(now);
    return this.#rates.slice(0, -1).reduce((sum, each) => sum + each, 0) / (this.#rates.length - 1);
  }
}
