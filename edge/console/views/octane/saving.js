/** Saves a render's picture to this computer, puts it on the clipboard, or reads the last one that the server keeps. */

import { h } from "../../dom.js";
import { Refusal, bearer } from "../../../client/http.js";

const ENDINGS = { "image/png": "png", "image/jpeg": "jpg", "image/webp": "webp" };

/** Throws an Error whose message is for people. */
async function request(client, path) {
  let response;
  try {
    const token = await client.board.proof();
    response = await fetch(client.base + path, { headers: bearer(token), cache: "no-store" });
  } catch {
    throw new Error("the server cannot be reached");
  }
  if (!response.ok) throw await Refusal.of(response);
  return response;
}

/** The picture in full size as a Blob. Throws as `request` does. */
const fetchPicture = async (client, path) => (await request(client, path)).blob();

/** The last picture of a render pass, which outlives Octane: `{ bitmap, header }`; null where none is kept. */
export async function lastPicture(client, path) {
  const answer = await request(client, path).catch(() => null);
  if (!answer) return null;
  const { headers } = answer;
  const bitmap = await createImageBitmap(await answer.blob());
  const age = Number(headers.get("X-Picture-Age") ?? 0) * 1_000;
  const simulated = headers.has("X-Simulated") ? headers.get("X-Simulated") === "true" : undefined;
  const header = { time: client.clock.now() - age, simulated, by: headers.get("X-Rendered-By") ?? "", kept: true };
  return { bitmap, header };
}

const stamp = () => new Date().toISOString().replaceAll(":", "-").replace(/\..*/, "");

/** Lets the browser save the picture of a pane: `octane-main-beauty-2026-11-27T03-00-00.png`. */
export async function savePicture(client, id, pane) {
  const blob = await fetchPicture(client, pane.path("snapshot", { format: "png" }));
  const href = URL.createObjectURL(blob);
  h("a", { href, download: `octane-${id}-${pane.pass}-${stamp()}.${ENDINGS[blob.type] ?? "png"}` }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10_000);
}

/** Puts the picture of a pane on the clipboard, as PNG. */
export async function copyPicture(client, pane) {
  if (!navigator.clipboard?.write || !globalThis.ClipboardItem) {
    throw new Error("this browser copies pictures only on pages served by https:// or from this computer; save the picture instead");
  }
  const blob = await fetchPicture(client, pane.path("snapshot", { format: "png" }));
  try {
    await navigator.clipboard.write([new ClipboardItem({ "image/png": blob.type === "image/png" ? blob : await asPng(blob) })]);
  } catch {
    throw new Error("the browser did not allow it; click on the page and try again");
  }
}

async function asPng(blob) {
  const bitmap = await createImageBitmap(blob);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}
