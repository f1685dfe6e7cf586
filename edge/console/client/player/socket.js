/** Receives one rung of a camera over a WebSocket, and acknowledges what was shown, so that the server sends no more than that. */

import { unpack } from "../frames.js";
import { query } from "../http.js";
import { Fault, until } from "./fault.js";

// How long (ms) a connection may take to open.
const OPENING = 4_000;
// Codes from here on mean: do not come back with the same request.
const STAY_AWAY = 4_500;

/**
 * Connects by `link` and hands each message to `receive(header, body)` until the connection ends (then it throws a Fault) or the signal
 * does. Returns nothing.
 */
export async function receivePictures(link, format, signal, receive) {
  const ticket = await link.ticket("websocket");
  if (signal.aborted) return;
  const { height, fps } = link.wish;
  const socket = new WebSocket(`${link.url.replace(/^http/, "ws")}/ws${query({ format, height, fps, ticket })}`);
  socket.binaryType = "arraybuffer";
  const say = (message) => socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify(message));
  const acknowledge = ({ seq, life }, age = null) => {
    if (Number.isFinite(seq)) say({ control: "shown", seq, life, ...(age === null ? {} : { age: Math.round(age) }) });
  };
  let timer = null;
  await until(signal, (_, reject) => {
    let opened = false;
    let drained = false;
    timer = setTimeout(() => reject(new Fault("unreachable", "the WebSocket does not open")), OPENING);
    socket.onopen = () => {
      opened = true;
      clearTimeout(timer);
      link.opened((wish) => say({ control: "prefer", format, ...wish }));
    };
    socket.onmessage = ({ data }) => {
      link.heard();
      try {
        if (typeof data === "string") {
          const message = JSON.parse(data);
          drained ||= message.control === "bye";
          link.control(message);
        } else {
          const { header, picture } = unpack(data);
          link.received(data.byteLength, header);
          receive(header, picture, acknowledge);
        }
      } catch (fault) {
        if (fault instanceof Fault) reject(fault);
        else link.dropped("broken");
      }
    };
    socket.onclose = ({ code, reason }) => {
      if (!opened) reject(new Fault("unreachable", "the WebSocket cannot be opened"));
      else if (code >= STAY_AWAY && code < 5_000) reject(new Fault("refused", `the server ended the connection: ${reason || code}`, { status: code }));
      else reject(new Fault(drained ? "drained" : "lost", "the connection was lost"));
    };
  }, () => {
    clearTimeout(timer);
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1000);
  });
}
