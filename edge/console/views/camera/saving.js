/** Saves a camera's picture to this computer, named by the time at which it was captured. */

import { h } from "../../dom.js";
import { Refusal, bearer } from "../../../client/http.js";

const ENDINGS = { "image/png": "png", "image/jpeg": "jpg" };

const stamp = (time) => new Date(time).toISOString().replaceAll(":", "-");

/** When a still was captured, in ms, as its headers say; now where they do not. */
function capturedAt(headers) {
  const said = headers.get("X-Capture-Time") ?? headers.get("X-Timestamp");
  const at = said && (Number.isFinite(Number(said)) ? Number(said) : Date.parse(said));
  return at || Date.now();
}

/** The first of some addresses that the server has. Throws an Error whose message is for people. */
async function request(client, paths) {
  const token = await client.board.proof();
  for (const [at, path] of paths.entries()) {
    let response;
    try {
      response = await fetch(client.base + path, { headers: bearer(token), cache: "no-store" });
    } catch {
      throw new Error("the server cannot be reached");
    }
    if (response.ok) return response;
    const refusal = await Refusal.of(response);
    // An older server has no stills, and says so in no problem's terms.
    if (at === paths.length - 1 || refusal.code !== "not_found") throw refusal;
  }
  return null;
}

/** Lets the browser save a picture's file. */
export function saveBlob(blob, name) {
  const href = URL.createObjectURL(blob);
  h("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10_000);
}

/** Saves a still, `png` or `jpg`: `camera-main-2026-11-27T03-00-00.123Z.png`. Returns when it was captured, in ms. */
export async function saveStill(client, id, format) {
  const address = `/cameras/${encodeURIComponent(id)}`;
  const response = await request(client, [`${address}/still.${format}`, `${address}/snapshot`]);
  const blob = await response.blob();
  const captured = capturedAt(response.headers);
  saveBlob(blob, `camera-${id}-${stamp(captured)}.${ENDINGS[blob.type] ?? format}`);
  return captured;
}
