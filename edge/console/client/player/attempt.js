/** One try at playing a camera by one transport: what the transport tells, and how long it may be silent. */

import { Fault, faultOf } from "./fault.js";

// How long (ms) a camera that streams may bring nothing: a picture is repeated each second. For the first picture a source
// may have to be opened.
const SILENCE = 3_000;
const FIRST = 6_000;
// After so long (ms) without its first picture another codec is tried beside it: the source may have none of this one.
const ALONE = 1_000;
// So long (ms) a decoder may take to bring the first of the pictures that came, before another codec is tried beside it; and to bring any.
const SLOW = 2_500;
const STUCK = 8_000;
// Of a source so slow that its pictures are farther apart than that: so many of their intervals.
const INTERVALS = 3;
const LOOK = 250;
const NAMES = { h264: "H.264", jpeg: "JPEG" };

/**
 * `player` has url, surface, tally, wish, now(), ticket(transport), and hears `attemptPainted(attempt)`, `attemptTold(attempt)` and
 * `attemptWaits(attempt)`. What a
 * transport calls: `opened`, `heard`, `control`, `received`, `offer`, `dropped`.
 */
export class Attempt {
  #player;
  #life = new AbortController();
  #heard = performance.now();
  #patience;
  #began = false;
  #interval = 0;
  #ask = null;
  #waits = false;
  // Since when pictures come of which none was decoded; null where the last one was.
  #undecoded = null;
  /** Pictures that it received and painted. */
  pictures = 0;
  painted = 0;
  /** What the server said: its rung, why, all rungs, and the camera's status. */
  rung = "";
  why = "";
  rungs = [];
  camera = null;

  /** `patience` is a factor on how long it may be silent. */
  constructor(player, transport, patience = 1) {
    this.#player = player;
    this.#patience = patience;
    this.transport = transport;
    this.over = this.#play();
  }

  get url() {
    return this.#player.url;
  }

  get wish() {
    return this.#player.wish;
  }

  /** Ends it; `over` then gives null, or the fault that is given. */
  end(fault = null) {
    this.#life.abort(fault ?? undefined);
  }

  /** Tells the server of a new wish, where it can; says whether it did. */
  ask(wish) {
    this.#ask?.(wish);
    return Boolean(this.#ask);
  }

  async ticket(transport) {
    return (await this.#player.ticket(transport)) ?? null;
  }

  opened(ask = null) {
    this.#ask = ask;
    this.#began = true;
    this.heard();
    this.#player.attemptTold(this);
  }

  heard() {
    this.#heard = performance.now();
  }

  control(message) {
    const { control, rung, rungs, reason, status, since } = message;
    if (control === "ready") this.rungs = Array.isArray(rungs) ? rungs.map(String) : [];
    if (control === "ready" || control === "rung") {
      this.rung = rung ?? this.rung;
      this.why = control === "rung" ? reason ?? "" : "";
    }
    if ((control === "ready" || control === "state") && status) this.camera = { status, reason: reason ?? null, since: since ?? null };
    this.#player.attemptTold(this);
    const { codec } = this.transport;
    if (control === "ready" && this.rungs.length && !this.rungs.some((each) => each.split("-")[0] === codec)) {
      this.end(new Fault("unsupported", `the camera has no ${NAMES[codec] ?? codec}`, { ofCodec: true }));
    }
  }

  received(bytes, header) {
    this.pictures += 1;
    this.#undecoded ??= performance.now();
    this.#player.tally.received(bytes);
    const rung = header.rung ?? header.format;
    if (Number.isFinite(header.fps) && header.fps > 0) this.#interval = 1_000 / header.fps;
    if (rung && rung !== this.rung) {
      this.rung = rung;
      this.#player.attemptTold(this);
    }
  }

  /** Bytes that came beside those of pictures told by `received`. */
  weighed(bytes) {
    this.#player.tally.weighed(bytes);
  }

  dropped(reason) {
    this.#player.tally.dropped(reason);
  }

  /** Gives a decoded picture to paint; `acknowledge` tells the server what became of it. */
  offer(picture, acknowledge = null) {
    const { header } = picture;
    this.#undecoded = null;
    // The first picture of a connection may be of before: its age is no latency.
    const first = this.painted === 0;
    const settle = (how) => {
      const measured = how === "painted" && !first && header.fresh !== false && Number.isFinite(header.time);
      const age = measured ? Math.max(0, this.#player.now() - header.time) : null;
      acknowledge?.(header, age);
      if (how === "painted") {
        this.painted += 1;
        this.#player.tally.painted(age);
        this.#player.attemptPainted(this, header);
      } else if (how === "repeated") {
        this.painted += 1;
        this.#player.tally.repeated();
        this.#player.attemptPainted(this, null);
      } else {
        this.dropped(how);
      }
    };
    if (this.#life.signal.aborted) {
      picture.free?.();
      return;
    }
    this.#player.surface.offer({ ...picture, settle });
  }

  #allowed(silence) {
    return Math.max(silence, this.#interval * INTERVALS) * this.#patience;
  }

  // A camera that is idle, failed or gone may be silent for any time: the server says when that changes.
  get #rests() {
    return this.camera !== null && this.camera.status !== "streaming";
  }

  #watch() {
    if (!this.#began) return;
    const now = performance.now();
    const undecoded = this.#undecoded === null ? 0 : now - this.#undecoded;
    const silent = this.#rests ? 0 : now - this.#heard;
    if (undecoded > this.#allowed(STUCK)) {
      this.end(new Fault("broken", "pictures come, and none of them can be decoded"));
    } else if (silent > (this.painted ? this.#allowed(SILENCE) : FIRST * this.#patience)) {
      this.end(new Fault("silent", "no picture comes"));
    } else if (!this.painted && !this.#waits && (silent > ALONE || undecoded > SLOW)) {
      this.#waits = true;
      this.#player.attemptWaits(this);
    }
  }

  async #play() {
    const { signal } = this.#life;
    const watch = setInterval(() => this.#watch(), LOOK);
    try {
      await this.transport.play(this, signal);
      return signal.reason instanceof Fault ? signal.reason : null;
    } catch (error) {
      return signal.aborted ? (signal.reason instanceof Fault ? signal.reason : null) : faultOf(error);
    } finally {
      clearInterval(watch);
      this.#ask = null;
    }
  }
}
