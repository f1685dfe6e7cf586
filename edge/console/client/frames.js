/**
 * Draws binary frames of a WebSocket on a canvas: the newest wins, a late one is never drawn.
 *
 * A frame is `[uint32 little-endian: header length][UTF-8 JSON header][picture]`. While the tab is hidden the socket is
 * closed, which gives back the lease and lets the source rest.
 */

import { Backoff, Pause, reachable } from "./backoff.js";

// How long (ms) a connection may take to open.
const OPENING = 10_000;

const text = new TextDecoder();

/** Takes a frame apart without copying the picture. Throws RangeError or SyntaxError for anything else. */
export function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(text.decode(new Uint8Array(buffer, 4, length)));
  return { header, picture: new Uint8Array(buffer, 4 + length) };
}

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1] ?? null;

export class FrameStream {
  #life = null;
  #connection = null;
  #pause = new Pause();
  #backoff = new Backoff();
  #waiting = null;
  #decoding = false;
  #picture = null;
  #drawing = 0;
  #fresh = false;
  #window = { since: 0, drawn: 0, received: 0, bytes: 0, latencies: [] };

  stats = { fps: 0, receivedFps: 0, latency: null, bytesPerSecond: 0, dropped: 0, frames: 0 };
  header = null;
  phase = "idle";
  /** Why the server gave no ticket for the pictures, as it said; null where it gave one. */
  refusal = null;
  lastFrame = 0;

  /**
   * `ticket` gives what the address needs where tokens are wanted, or null. `now` gives the server's time in ms. `silence` is how long (ms) a healthy source may say nothing, 0 for any time.
   * `onFrame(header)` follows each picture drawn, `onStats(stats)` comes once a second, `onPhase(phase)` on each change.
   */
  constructor(canvas, url, { ticket = null, now = Date.now, silence = 0, onFrame = null, onStats = null, onPhase = null } = {}) {
    this.canvas = canvas;
    this.url = url;
    this.ticket = ticket;
    this.now = now;
    this.silence = silence;
    this.onFrame = onFrame;
    this.onStats = onStats;
    this.onPhase = onPhase;
    this.surface = canvas.getContext("2d", { alpha: false });
  }

  start() {
    if (this.#life) return;
    this.#life = new AbortController();
    const { signal } = this.#life;
    const look = () => {
      if (document.hidden) this.#connection?.abort();
      this.#pause.wake();
    };
    document.addEventListener("visibilitychange", look, { signal });
    addEventListener("online", look, { signal });
    const clock = setInterval(() => this.#tally(), 1_000);
    signal.addEventListener("abort", () => clearInterval(clock), { once: true });
    this.#live(signal);
  }

  close() {
    this.#life?.abort();
    this.#life = null;
    cancelAnimationFrame(this.#drawing);
    this.#drawing = 0;
    this.#picture?.close();
    this.#picture = this.#waiting = null;
    this.#enter("closed");
  }

  async #live(signal) {
    while (!signal.aborted) {
      if (document.hidden || !reachable(this.url)) {
        this.#enter("paused");
        await this.#pause.for(Infinity, signal);
        continue;
      }
      this.#enter("connecting");
      const had = this.stats.frames;
      await this.#connect(signal);
      if (signal.aborted) return;
      if (this.stats.frames > had) this.#backoff.reset();
      if (document.hidden) continue;
      this.#enter("waiting");
      await this.#pause.for(this.#backoff.next(), signal);
    }
  }

  async #connect(signal) {
    let ticket = null;
    try {
      ticket = await this.ticket?.();
      this.refusal = null;
    } catch (fault) {
      // Refused or away: the next try asks again.
      this.refusal = fault.status ? fault : null;
      return;
    }
    if (signal.aborted || document.hidden) return;
    await new Promise((resolve) => {
      const socket = new WebSocket(this.url.replace(/^http/, "ws") + (ticket ? `${this.url.includes("?") ? "&" : "?"}ticket=${ticket}` : ""));
      socket.binaryType = "arraybuffer";
      this.#connection = new AbortController();
      let heard = Date.now();
      const watchdog = setInterval(() => {
        const silence = socket.readyState === WebSocket.CONNECTING ? OPENING : this.silence;
        if (silence && Date.now() - heard > silence) this.#connection.abort();
      }, 1_000);
      const leave = () => {
        clearInterval(watchdog);
        socket.onmessage = socket.onclose = null;
        socket.close(1000);
        resolve();
      };
      socket.onopen = () => {
        this.#fresh = false;
        this.#enter("open");
      };
      socket.onmessage = ({ data }) => {
        heard = Date.now();
        if (data instanceof ArrayBuffer) this.#receive(data);
      };
      socket.onclose = leave;
      this.#connection.signal.addEventListener("abort", leave, { once: true });
      signal.addEventListener("abort", leave, { once: true });
    });
  }

  #receive(buffer) {
    this.#window.received += 1;
    this.#window.bytes += buffer.byteLength;
    if (this.#waiting) this.stats.dropped += 1;
    this.#waiting = buffer;
    if (!this.#decoding) this.#decode();
  }

  // One picture is decoded at a time; those that come meanwhile replace one another.
  async #decode() {
    this.#decoding = true;
    while (this.#waiting) {
      const buffer = this.#waiting;
      this.#waiting = null;
      try {
        const { header, picture } = unpack(buffer);
        const bitmap = await createImageBitmap(new Blob([picture], { type: `image/${header.format ?? "jpeg"}` }));
        if (!this.#life) {
          bitmap.close();
          break;
        }
        if (this.#picture) {
          this.#picture.close();
          this.stats.dropped += 1;
        }
        this.#picture = bitmap;
        this.header = header;
        this.#drawing ||= requestAnimationFrame(() => this.#draw());
      } catch (fault) {
        // One picture that cannot be read is no reason to stop looking.
        this.stats.dropped += 1;
        console.debug("a frame was skipped", fault);
      }
    }
    this.#decoding = false;
  }

  #draw() {
    this.#drawing = 0;
    const bitmap = this.#picture;
    this.#picture = null;
    if (!bitmap) return;
    const { canvas, header } = this;
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
    }
    this.surface.drawImage(bitmap, 0, 0);
    bitmap.close();
    this.lastFrame = Date.now();
    this.stats.frames += 1;
    this.#window.drawn += 1;
    // The first picture of a connection is the last one the source had made, however long ago: its age is no latency.
    if (this.#fresh && Number.isFinite(header.time)) this.#window.latencies.push(Math.max(0, this.now() - header.time));
    this.#fresh = true;
    this.onFrame?.(header);
  }

  #tally() {
    const now = performance.now();
    const { since, drawn, received, bytes, latencies } = this.#window;
    const seconds = (now - since) / 1000 || 1;
    this.#window = { since: now, drawn: 0, received: 0, bytes: 0, latencies: [] };
    if (!since) return;
    Object.assign(this.stats, {
      fps: drawn / seconds,
      receivedFps: received / seconds,
      bytesPerSecond: bytes / seconds,
      latency: median(latencies),
    });
    this.onStats?.(this.stats);
  }

  #enter(phase) {
    if (this.phase === phase) return;
    this.phase = phase;
    this.onPhase?.(phase);
  }
}
