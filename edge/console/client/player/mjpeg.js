/** Plays MJPEG over HTTP, for networks that let nothing else through: read part by part, so that each picture's number is known. */

import { Refusal, query } from "../http.js";
import { Fault } from "./fault.js";

// A picture with its headers may have this many bytes.
const MOST = 64 * 1024 * 1024;
const text = new TextDecoder("latin1");
const BREAK = [13, 10, 13, 10];

/** Takes multipart/x-mixed-replace apart as it comes. */
export class Parts {
  #held = new Uint8Array(0);

  /** Returns what is complete with these bytes: `{ fields, body }`, with the names of the fields in lower case. */
  add(bytes) {
    const joined = new Uint8Array(this.#held.length + bytes.length);
    joined.set(this.#held);
    joined.set(bytes, this.#held.length);
    this.#held = joined;
    const found = [];
    for (let part = this.#next(); part; part = this.#next()) found.push(part);
    if (this.#held.length > MOST) throw new Fault("broken", "a picture is too large");
    return found;
  }

  #next() {
    const held = this.#held;
    const end = held.findIndex((_, at) => at < held.length - 3 && BREAK.every((byte, next) => held[at + next] === byte));
    if (end < 0) return null;
    const lines = text.decode(held.subarray(0, end)).split("\r\n").filter((line) => line.includes(":"));
    const fields = Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf(":")).trim().toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]));
    const length = Number(fields["content-length"]);
    if (!Number.isInteger(length) || length < 0 || length > MOST) throw new Fault("broken", "a picture does not say how long it is");
    if (held.length < end + 4 + length) return null;
    const body = held.slice(end + 4, end + 4 + length);
    this.#held = held.slice(end + 4 + length);
    return { fields, body };
  }
}

/** The header of a picture as a WebSocket would have it, of the fields of a part. */
export function headerOf(fields) {
  const [life, seq] = (fields["x-frame"] ?? "").split(".").map(Number);
  const time = Number.parseFloat(fields["x-timestamp"]);
  return {
    format: "jpeg",
    ...(fields["x-frame"] && Number.isFinite(seq) ? { life, seq } : {}),
    ...(Number.isFinite(time) ? { time } : {}),
    ...("x-fresh" in fields ? { fresh: fields["x-fresh"] !== "false" } : {}),
    simulated: fields["x-simulated"] === "true",
    rung: fields["x-rung"] ?? "jpeg",
  };
}

export const mjpeg = {
  name: "mjpeg",
  label: "MJPEG over HTTP",
  medium: "http",
  codec: "jpeg",

  async unsupported() {
    return globalThis.ReadableStream && globalThis.createImageBitmap ? null : "this browser reads no streams";
  },

  async play(link, signal) {
    const ticket = await link.ticket("mjpeg");
    let response;
    try {
      const { height, fps } = link.wish;
      response = await fetch(`${link.url}/mjpeg${query({ height, fps, ticket })}`, { cache: "no-store", signal });
    } catch {
      if (signal.aborted) return;
      throw new Fault("unreachable", "the server cannot be reached");
    }
    if (!response.ok) throw await Refusal.of(response);
    link.opened();
    const reader = response.body.getReader();
    const parts = new Parts();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (signal.aborted) return;
        if (done) throw new Fault("lost", "the server ended the stream");
        link.heard();
        const found = parts.add(value);
        for (const { fields, body } of found) link.received(body.length, headerOf(fields));
        for (let left = found.length - 1; left > 0; left -= 1) link.dropped("superseded");
        const newest = found.at(-1);
        if (!newest) continue;
        // While one is decoded nothing is read: TCP slows the server down, and nothing grows here.
        const image = await createImageBitmap(new Blob([newest.body], { type: "image/jpeg" })).catch(() => null);
        if (!image) link.dropped("broken");
        else if (signal.aborted) image.close();
        else link.offer({ header: { ...headerOf(newest.fields), width: image.width, height: image.height }, image, free: () => image.close() });
      }
    } catch (fault) {
      if (signal.aborted) return;
      throw fault;
    } finally {
      reader.cancel().catch(() => {});
    }
  },
};
