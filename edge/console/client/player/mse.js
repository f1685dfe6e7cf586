/** Plays fragmented MP4 from a WebSocket through Media Source Extensions, and keeps its video at the live end. */

import { Fault } from "./fault.js";
import { receivePictures } from "./socket.js";

const Source = globalThis.ManagedMediaSource ?? globalThis.MediaSource;
const ANY = 'video/mp4; codecs="avc1.42E01F"';
// Fragments that may wait for the buffer; more are left out up to the next key.
const QUEUE = 60;
// Seconds behind the newest picture: from here the video is played faster, from there it jumps.
const BEHIND = 0.12;
const FAR_BEHIND = 0.6;
const CATCH_UP = 1.08;
// Seconds that the buffer keeps of the past.
const PAST = 4;
// The media time is the capture clock's, in milliseconds.
const place = (seconds) => Math.round(seconds * 1_000);

/** One video element and its buffer, for one initialisation segment. */
class Screen {
  #link;
  #fail;
  #buffer = null;
  #queue = [];
  #pending = new Map();
  #end = null;
  #skipping = false;
  #life = new AbortController();

  constructor(link, codec, fail) {
    this.#link = link;
    this.#fail = fail;
    const video = document.createElement("video");
    video.muted = video.playsInline = video.disableRemotePlayback = true;
    this.video = video;
    const source = new Source();
    const address = URL.createObjectURL(source);
    const { signal } = this.#life;
    source.addEventListener("sourceopen", () => this.#open(source, codec, address), { once: true, signal });
    video.addEventListener("error", () => fail(new Fault("broken", `the video failed: ${video.error?.message || "no reason given"}`)), { signal });
    video.src = address;
    const look = setInterval(() => this.#keepUp(), 200);
    signal.addEventListener("abort", () => clearInterval(look), { once: true });
    this.#watch();
  }

  /** Takes a segment. A fragment has the header of its picture. */
  append(segment, picture = null) {
    if (picture && this.#queue.length >= QUEUE) this.#skipping = true;
    if (picture && this.#skipping && !picture.header.key) {
      this.#link.dropped("decoder");
      picture.acknowledge(picture.header);
      return;
    }
    this.#skipping = false;
    if (picture) {
      this.#pending.set(place(picture.header.time / 1_000), picture);
      this.#end = picture.header.time / 1_000;
    }
    this.#queue.push(segment);
    this.#pump();
  }

  close() {
    this.#life.abort();
    this.#buffer = null;
    for (const { header, acknowledge } of this.#pending.values()) acknowledge(header);
    this.#pending.clear();
    this.video.removeAttribute("src");
    this.video.load();
  }

  #open(source, codec, address) {
    URL.revokeObjectURL(address);
    const type = `video/mp4; codecs="${codec}"`;
    try {
      this.#buffer = source.addSourceBuffer(type);
    } catch {
      this.#fail(new Fault("unsupported", `this browser does not play ${type}`));
      return;
    }
    this.#buffer.addEventListener("updateend", () => this.#pump(), { signal: this.#life.signal });
    this.#pump();
  }

  #pump() {
    const buffer = this.#buffer;
    if (!buffer || buffer.updating || !this.#queue.length) return;
    const { video } = this;
    try {
      if (buffer.buffered.length && video.currentTime - buffer.buffered.start(0) > 2 * PAST) buffer.remove(0, video.currentTime - PAST);
      else buffer.appendBuffer(this.#queue.shift());
    } catch (fault) {
      this.#fail(new Fault("broken", `the video's buffer failed: ${fault.message}`));
    }
  }

  // Nothing may grow: a video that fell behind is played faster, or jumps to the newest picture.
  #keepUp() {
    const { video } = this;
    const { buffered } = video;
    if (!buffered.length || this.#end === null) return;
    const end = Math.min(this.#end, buffered.end(buffered.length - 1));
    const behind = end - video.currentTime;
    const outside = video.currentTime < buffered.start(buffered.length - 1);
    if (outside || behind > FAR_BEHIND || behind < -1) video.currentTime = Math.max(buffered.start(buffered.length - 1), end - 0.03);
    video.playbackRate = behind > BEHIND ? CATCH_UP : 1;
    if (video.paused) video.play().catch(() => {});
  }

  #watch() {
    const { signal } = this.#life;
    const next = () => !signal.aborted && this.video.requestVideoFrameCallback((_, frame) => {
      this.#shown(frame.mediaTime);
      next();
    });
    next();
  }

  // The video may be a picture farther than the callback says: a copy of its picture knows its own time.
  #copy() {
    try {
      return new VideoFrame(this.video);
    } catch {
      return null;
    }
  }

  #shown(seconds) {
    const copy = this.#copy();
    const at = copy ? Math.round(copy.timestamp / 1_000) : place(seconds);
    let shown = null;
    // The clock of a video is a float of seconds since 1970: a picture is found to within a millisecond.
    for (const [time, picture] of this.#pending) {
      if (time > at + 1) break;
      if (shown) {
        this.#link.dropped("superseded");
        shown.acknowledge(shown.header);
      }
      shown = picture;
      this.#pending.delete(time);
    }
    const free = () => copy?.close();
    if (shown) this.#link.offer({ header: shown.header, image: copy ?? this.video, passing: true, free }, shown.acknowledge);
    else free();
  }
}

export const mse = {
  name: "mse",
  label: "H.264 through Media Source Extensions",
  medium: "websocket",
  codec: "h264",

  async unsupported() {
    if (!Source) return "this browser has no Media Source Extensions";
    if (!HTMLVideoElement.prototype.requestVideoFrameCallback) return "this browser does not tell which picture of a video it shows";
    return Source.isTypeSupported(ANY) ? null : "this browser does not play H.264";
  },

  async play(link, signal) {
    const broken = new AbortController();
    let screen = null;
    try {
      await receivePictures(link, "mp4", AbortSignal.any([signal, broken.signal]), (header, body, acknowledge) => {
        if (header.format !== "mp4") throw new Fault("unsupported", `the server sends ${header.format ?? "other pictures"} instead of MP4`);
        if (header.kind === "init") {
          screen?.close();
          screen = new Screen(link, header.codec, (fault) => broken.abort(fault));
          screen.append(body);
        } else if (!screen) {
          acknowledge(header);
        } else {
          screen.append(body, { header, acknowledge });
        }
      });
      if (broken.signal.aborted && !signal.aborted) throw broken.signal.reason;
    } finally {
      screen?.close();
    }
  },
};
