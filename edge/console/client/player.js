/**
 * Plays a live camera in a page: by the best transport that works there, as close to the present as that allows.
 *
 *     import { CameraPlayer } from "/client/player.js";
 *
 *     const player = new CameraPlayer(document.querySelector("#camera"), "http://localhost:8000/cameras/main");
 *     player.start();
 *
 * It tries H.264 through WebCodecs, then through Media Source Extensions, JPEG over WebSocket, and MJPEG. Where the camera says that
 * it has no H.264, or brings none within a second, JPEG is tried at once. What fails is tried again later, beside what plays, and
 * takes over with its first picture. Nothing older than what was painted is ever painted.
 */

import { Backoff, Pause, reachable } from "./backoff.js";
import { Attempt } from "./player/attempt.js";
import { Choice } from "./player/choice.js";
import { Fault } from "./player/fault.js";
import { jpeg } from "./player/jpeg.js";
import { mjpeg } from "./player/mjpeg.js";
import { mse } from "./player/mse.js";
import { Surface } from "./player/surface.js";
import { Tally } from "./player/tally.js";
import { webcodecs } from "./player/webcodecs.js";
import { whep } from "./player/whep.js";

/** All transports by name; those of `AUTOMATIC` are chosen from without being asked for, the best first. */
export const TRANSPORTS = { webcodecs, mse, jpeg, mjpeg, whep };
export const AUTOMATIC = ["webcodecs", "mse", "jpeg", "mjpeg"];

// Waits between tries (ms): pictures are to be back within three seconds after whatever died is there again.
const WAITS = { base: 200, cap: 1_500 };
// After a refusal: the server will not change its mind within a second.
const REFUSED = 3_000;
// How long (ms) a better transport may take to its first picture while another one plays.
const AUDITION = 8_000;
const MOST_PATIENCE = 4;

function transportsOf(prefer) {
  const names = prefer === "auto" || prefer === undefined || prefer === null ? AUTOMATIC : [prefer].flat();
  return names.map((name) => {
    if (!Object.hasOwn(TRANSPORTS, name)) throw new TypeError(`there is no transport ${name}; there are ${Object.keys(TRANSPORTS).join(", ")}`);
    return TRANSPORTS[name];
  });
}

function canvasOf(element) {
  if (element instanceof HTMLCanvasElement) return element;
  const canvas = document.createElement("canvas");
  element.append(canvas);
  return canvas;
}

export class CameraPlayer {
  #life = null;
  #choice;
  #attempt = null;
  #candidate = null;
  #pause = new Pause();
  #backoff = new Backoff(WAITS);
  #silences = 0;
  #options;
  #state = { phase: "idle", reason: "", since: Date.now(), transport: null, label: "", rung: "", why: "", rungs: [], passed: [], camera: null };

  /**
   * `element` is a canvas, or what gets one; `url` a camera's address (`…/cameras/main`).
   *
   * `ticket(transport)` gives what an address needs where tokens are wanted, or null. `prefer` is `auto`, a transport's name or a
   * list of names, the best first. `height` and `fps` say what is wanted. `now()` gives the server's time in ms. `onState(state)`
   * follows each change, `onStats(stats)` comes once a second, `onFrame(header)` follows each picture painted.
   */
  constructor(element, url, { ticket = null, prefer = "auto", height = null, fps = null, now = Date.now, onState = null, onStats = null, onFrame = null } = {}) {
    this.url = String(url).replace(/\/+$/, "");
    this.canvas = canvasOf(element);
    this.surface = new Surface(this.canvas);
    this.tally = new Tally();
    this.now = now;
    this.wish = { height, fps };
    this.ticket = async (transport) => ticket?.(transport) ?? null;
    this.#options = { onState, onStats, onFrame };
    this.#choice = new Choice(transportsOf(prefer));
    this.stats = this.tally.read();
  }

  /** How it plays: phase, transport, rung, why, and what better transports were passed over for. */
  get state() {
    return this.#state;
  }

  /** The header of the picture that is painted; null before the first. */
  get header() {
    return this.surface.header;
  }

  start() {
    if (this.#life) return;
    this.#life = new AbortController();
    const { signal } = this.#life;
    document.addEventListener("visibilitychange", () => this.#look(), { signal });
    addEventListener("online", () => this.#look(true), { signal });
    addEventListener("offline", () => this.#look(), { signal });
    const clock = setInterval(() => this.#tick(), 1_000);
    signal.addEventListener("abort", () => clearInterval(clock), { once: true });
    this.#live(signal);
  }

  close() {
    this.#life?.abort();
    this.#life = null;
    this.#end();
    this.surface.rest();
    this.#enter("closed");
  }

  /** Changes by which transports it may play; it begins anew. */
  prefer(prefer) {
    this.#choice = new Choice(transportsOf(prefer));
    this.#restart();
    this.#pause.wake();
  }

  /** Changes the height or the rate that is wanted, of what is played now too. */
  ask(wish) {
    this.wish = { ...this.wish, ...wish };
    if (this.#attempt && !this.#attempt.ask(this.wish)) this.#restart();
  }

  attemptTold(attempt) {
    if (attempt === this.#attempt) this.#tell();
  }

  // Its first picture takes longer than usual: there may be none of its codec, so another one is tried beside it.
  attemptWaits(attempt) {
    if (attempt !== this.#attempt || this.#candidate) return;
    const other = this.#choice.other(attempt.transport, performance.now());
    if (other) this.#audition(other);
  }

  attemptPainted(attempt, header) {
    if (attempt === this.#candidate) this.#takeOver(attempt);
    if (attempt !== this.#attempt) return;
    if (this.#candidate && this.#choice.prefers(attempt.transport, this.#candidate.transport)) this.#candidate.end();
    this.#backoff.reset();
    this.#silences = 0;
    if (this.#state.phase !== "playing" || this.#state.transport !== attempt.transport.name) {
      this.#choice.worked(attempt.transport);
      this.#enter("playing");
    }
    if (header) this.#options.onFrame?.(header);
  }

  #takeOver(attempt) {
    const before = this.#attempt;
    this.#attempt = attempt;
    this.#candidate = null;
    if (before && this.#choice.prefers(before.transport, attempt.transport)) {
      const fault = new Fault("outrun", "it brought no picture yet", { ofCodec: before.pictures === 0 });
      this.#choice.failed(before.transport, fault, performance.now());
    }
    before?.end();
  }

  #restart() {
    this.#attempt?.end(new Fault("drained", "another transport is asked for"));
    this.#candidate?.end();
  }

  #look(changed = false) {
    if (changed) this.#choice.forgive();
    if (document.hidden || !reachable(this.url)) this.#end();
    this.#pause.wake();
  }

  #end() {
    this.#attempt?.end();
    this.#candidate?.end();
  }

  async #live(signal) {
    let choice = null;
    while (!signal.aborted) {
      if (document.hidden || !reachable(this.url)) {
        this.#enter(document.hidden ? "paused" : "offline");
        await this.#pause.for(Infinity, signal);
        continue;
      }
      if (choice !== this.#choice) {
        choice = this.#choice;
        await choice.learn();
        if (signal.aborted) return;
      }
      const transport = choice.best(performance.now());
      if (!transport) {
        this.#enter("refused", choice.impossible);
        await this.#pause.for(Infinity, signal);
        continue;
      }
      const fault = await this.#play(transport);
      if (signal.aborted) return;
      await this.#recover(fault, signal);
    }
  }

  // Until what plays is over; a better transport may have taken its place meanwhile.
  async #play(transport) {
    let attempt = new Attempt(this, transport, Math.min(MOST_PATIENCE, 2 ** this.#silences));
    this.#attempt = attempt;
    // What was said of a refusal or a loss stands until there is something else to say.
    if (!["waiting", "refused"].includes(this.#state.phase)) this.#enter("connecting", this.#state.reason);
    for (;;) {
      const fault = await attempt.over;
      if (attempt === this.#attempt) {
        this.#attempt = null;
        if (fault) this.#choice.failed(attempt.transport, fault, performance.now());
        const other = this.#candidate;
        if (!fault || !other || this.#choice.prefers(other.transport, attempt.transport)) return fault;
        // What was tried beside it goes on in its place.
        this.#candidate = null;
        this.#attempt = other;
      }
      attempt = this.#attempt;
    }
  }

  async #recover(fault, signal) {
    if (!fault || document.hidden) return;
    if (fault.kind === "silent") this.#silences += 1;
    this.#enter(fault.kind === "refused" ? "refused" : "waiting", fault.message, fault);
    if (fault.kind === "drained" || fault.kind === "unsupported") return;
    await this.#pause.for(fault.kind === "refused" ? REFUSED : this.#backoff.next(), signal);
  }

  #tick() {
    this.stats = this.tally.read();
    this.#options.onStats?.(this.stats);
    const attempt = this.#attempt;
    if (!attempt?.painted || this.#candidate) return;
    const better = this.#choice.better(attempt.transport, performance.now());
    if (better) this.#audition(better);
  }

  // Plays by another transport beside what plays, or waits to; its first picture decides.
  async #audition(transport) {
    const better = this.#choice.prefers(transport, this.#attempt.transport);
    const candidate = new Attempt(this, transport);
    this.#candidate = candidate;
    const silent = () => candidate.end(new Fault("silent", "no picture came in time", { ofCodec: candidate.pictures === 0 }));
    const timer = setTimeout(() => candidate === this.#candidate && silent(), AUDITION);
    const fault = await candidate.over;
    clearTimeout(timer);
    if (candidate !== this.#candidate) return;
    this.#candidate = null;
    // Where neither brings a picture, the source has none.
    if (fault && better) this.#choice.failed(transport, fault, performance.now(), true);
    this.#tell();
  }

  #enter(phase, reason = "", fault = null) {
    const { phase: before, since } = this.#state;
    this.#state = { ...this.#state, phase, reason, code: fault?.code ?? "", since: phase === before ? since : Date.now() };
    this.#tell();
  }

  #tell() {
    const attempt = this.#attempt;
    if (attempt) {
      const { transport, rung, why, rungs, camera } = attempt;
      const passed = this.#choice.passed(transport);
      this.#state = { ...this.#state, transport: transport.name, label: transport.label, rung, why, rungs, camera: camera ?? this.#state.camera, passed };
    }
    this.#options.onState?.(this.#state);
  }
}
