/**
 * Holds one connection open over WebSocket, SSE or polling.
 *
 * Each transport takes a link (`url(path)`, `query`, `headers`, `ticket()`, `signal`, `take(object)`, `heard()`, `hint(ms)`) and returns a
 * promise that settles when the connection is over: with `{code, reason}` of a close, with nothing, or by throwing `Refusal` where
 * the server answered with an HTTP status. It sets `link.ping` where it can ask the server for a sign of life. None of them reconnects: that is
 * the stream's business, so that there are never two.
 */

import { Refusal, query } from "./http.js";

// For the closing handshake (ms).
const CLOSING = 250;

async function websocket(link) {
  // A browser's socket can send no header of ours.
  const ticket = await link.ticket();
  if (link.signal.aborted) return null;
  return new Promise((resolve) => {
    const address = link.url(`/ws${query({ ...link.query, controls: "all", ticket })}`).replace(/^http/, "ws");
    const socket = new WebSocket(address);
    const leave = () => {
      // Deaf first, then closed: the next connection waits for the end of this one, but a peer that is gone never answers.
      socket.onmessage = null;
      socket.onclose = () => resolve();
      setTimeout(resolve, CLOSING);
      socket.close(1000);
    };
    socket.onopen = () => {
      link.ping = () => socket.send('{"control":"ping"}');
    };
    socket.onmessage = ({ data }) => {
      link.heard();
      if (typeof data === "string") link.take(JSON.parse(data));
    };
    socket.onclose = ({ code, reason }) => {
      link.signal.removeEventListener("abort", leave);
      resolve({ code, reason });
    };
    link.signal.addEventListener("abort", leave, { once: true });
  });
}

/**
 * Server-sent events through `fetch`: unlike `EventSource` it tells a refusal from a broken network, lets the watchdog
 * see the comments that are the heartbeat, and never reconnects behind the stream's back.
 */
async function sse(link) {
  const ticket = link.headers.Authorization ? null : await link.ticket();
  const response = await fetch(link.url(`/sse${query({ ...link.query, ticket })}`), {
    headers: { Accept: "text/event-stream", ...link.headers },
    cache: "no-store",
    credentials: link.credentials,
    signal: link.signal,
  });
  if (response.status === 204) throw new Refusal(204, { detail: "nothing more comes" });
  if (!response.ok) throw await Refusal.of(response);
  for await (const { name, data, id } of pieces(response, link)) {
    const object = JSON.parse(data);
    if (name && name !== "message") link.take({ control: name, ...object });
    else link.take(object.cursor ? object : { ...object, cursor: id });
  }
}

/** The events of an SSE response: `{name, data, id}`; `heard` is called for every chunk, `hint` for `retry:`; it ends by `signal`. */
export async function* pieces(response, { heard, hint, signal }) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  // Node ends a pending read by the signal of `fetch`, but never one that begins afterwards.
  const stop = () => reader.cancel().catch(() => {});
  signal.addEventListener("abort", stop, { once: true });
  let rest = "";
  let name = "";
  let id = "";
  let data = [];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done || signal.aborted) return;
      heard();
      const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (data.length) yield { name, data: data.join("\n"), id };
          name = "";
          data = [];
          continue;
        }
        const [, field, text] = /^([^:]*):? ?(.*)$/s.exec(line);
        if (field === "data") data.push(text);
        else if (field === "event") name = text;
        else if (field === "id") id = text;
        else if (field === "retry" && /^\d+$/.test(text)) hint(Number(text));
      }
    }
  } finally {
    signal.removeEventListener("abort", stop);
    stop();
  }
}

// 25 s: under the 30 s at which many proxies give up on a silent answer.
export const POLL_WAIT = 25;

async function polling(link) {
  let position = link.query;
  let ready = false;
  for (;;) {
    const response = await fetch(link.url(`/events${query({ ...position, limit: 500, wait: ready ? link.wait : 0 })}`), {
      headers: link.headers,
      cache: "no-store",
      signal: link.signal,
    });
    if (!response.ok) throw await Refusal.of(response);
    const page = await response.json();
    link.heard();
    if (!ready) link.take({ control: "ready" });
    ready = true;
    if (page.gap) link.take({ control: "gap", ...page.gap });
    for (const event of page.events) link.take(event);
    if (page.next) {
      link.take({ control: "position", cursor: page.next });
      position = { cursor: page.next };
    }
  }
}

const ALL = { websocket, sse, polling };

/** Those that this program has: Node 20 has no WebSocket. */
export const TRANSPORTS = typeof WebSocket === "undefined" ? { sse, polling } : ALL;
