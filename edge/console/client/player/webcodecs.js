/** Plays H.264 from a WebSocket through WebCodecs: decoded by the hardware where there is some, and shown at once. */

import { Fault } from "./fault.js";
import { receivePictures } from "./socket.js";

// What every camera's stream is a case of: asked before anything of the stream is known.
const ANY = "avc1.42E01F";
// A decoder that holds more pictures than this, the oldest for longer (ms), does not keep up: the rest is left out up to the next key.
// Who joins gets all pictures since the last key at once, which is more and soon decoded.
const QUEUE = 6;
const LAG = 700;

/** Decodes what comes, from a key on, and leaves out what it cannot use. */
class H264Decoder {
  #link;
  #fail;
  #decoder = null;
  #codec = "";
  #rung = "";
  #packet = null;
  #life = null;
  #number = 0;
  #pending = new Map();

  constructor(link, fail) {
    this.#link = link;
    this.#fail = fail;
  }

  take(header, body, acknowledge) {
    if (header.format !== "h264") throw new Fault("unsupported", `the server sends ${header.format ?? "other pictures"} instead of H.264`);
    if (header.key) this.#begin(header);
    else if (!this.#decoder || !this.#follows(header)) {
      this.#skip(header, acknowledge);
      return;
    }
    this.#packet = header.packet ?? null;
    if (!header.key && this.#lags) {
      this.#end();
      this.#skip(header, acknowledge);
      return;
    }
    const timestamp = (this.#number += 1) * 1_000;
    this.#pending.set(timestamp, { header, acknowledge, at: performance.now() });
    this.#decoder.decode(new EncodedVideoChunk({ type: header.key ? "key" : "delta", timestamp, data: body }));
  }

  close() {
    this.#end();
  }

  get #lags() {
    if (this.#decoder.decodeQueueSize <= QUEUE) return false;
    const [oldest] = this.#pending.values();
    return oldest !== undefined && performance.now() - oldest.at > LAG;
  }

  #follows({ life, rung, packet }) {
    if (life !== this.#life || rung !== this.#rung) return false;
    return this.#packet === null || packet === undefined || packet === this.#packet + 1;
  }

  #begin({ codec = ANY, life, rung }) {
    const same = this.#decoder && codec === this.#codec && life === this.#life && rung === this.#rung;
    this.#codec = codec;
    this.#life = life;
    this.#rung = rung;
    if (same) return;
    this.#end();
    const decoder = new VideoDecoder({
      output: (frame) => this.#show(decoder, frame),
      error: (fault) => decoder === this.#decoder && this.#fail(new Fault("broken", `the H.264 decoder failed: ${fault.message}`)),
    });
    // Without a description the stream is Annex B, with its parameter sets before each key.
    decoder.configure({ codec, optimizeForLatency: true });
    this.#decoder = decoder;
  }

  #show(decoder, frame) {
    const pending = this.#pending.get(frame.timestamp);
    if (decoder !== this.#decoder || !pending) {
      frame.close();
      return;
    }
    // Without B-frames they come out in order: what is before this one will not come any more.
    for (const timestamp of this.#pending.keys()) {
      if (timestamp > frame.timestamp) break;
      this.#pending.delete(timestamp);
    }
    this.#link.offer({ header: pending.header, image: frame, free: () => frame.close() }, pending.acknowledge);
  }

  #skip(header, acknowledge) {
    this.#link.dropped("decoder");
    acknowledge(header);
  }

  #end() {
    for (const { header, acknowledge } of this.#pending.values()) acknowledge(header);
    this.#pending.clear();
    const decoder = this.#decoder;
    this.#decoder = null;
    if (decoder && decoder.state !== "closed") decoder.close();
  }
}

export const webcodecs = {
  name: "webcodecs",
  label: "H.264 through WebCodecs",
  medium: "websocket",
  codec: "h264",

  async unsupported() {
    if (!globalThis.isSecureContext) return "WebCodecs needs a page from https:// or from this computer";
    if (!globalThis.VideoDecoder) return "this browser has no WebCodecs";
    const { supported } = await VideoDecoder.isConfigSupported({ codec: ANY, optimizeForLatency: true }).catch(() => ({}));
    return supported ? null : "this browser does not decode H.264";
  },

  async play(link, signal) {
    const broken = new AbortController();
    const decoder = new H264Decoder(link, (fault) => broken.abort(fault));
    try {
      await receivePictures(link, "h264", AbortSignal.any([signal, broken.signal]), (...picture) => decoder.take(...picture));
      if (broken.signal.aborted && !signal.aborted) throw broken.signal.reason;
    } finally {
      decoder.close();
    }
  },
};
