/**
 * Holds one connection open over WebSocket, SSE or polling.
 *
 * Each transport takes a link (`url(path)`, `query`, `headers`, `ticket()`, `signal`, `take(object)`, `heard()`) and returns a promise that
 * settles when the connection is over: with `{code, reason}` where a socket closed, or by throwing `Refusal` where the
 * server answered with an HTTP status. None of them reconnects: that is the client's business, so that there are never two.
 */

/** The server answered, and the answer was no. */
export class Refusal extends Error {
  constructor(status, { code = "", detail = "", retryAfter = null } = {}) {
    super(detail || `the server answered ${status}`);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }

  static async of(response) {
    const problem = await response.json().catch(() => ({}));
    const seconds = Number.parseFloat(response.headers.get("Retry-After"));
    return new Refusal(response.status, {
      code: String(problem?.code ?? ""),
      detail: String(problem?.detail ?? problem?.title ?? ""),
      retryAfter: Number.isFinite(seconds) ? seconds * 1000 : null,
    });
  }
}

const query = (values) => {
  const text = new URLSearchParams(values).toString();
  return text ? `?${text}` : "";
};

async function websocket(link) {
  // A browser's socket can send no header of ours.
  const ticket = await link.ticket();
  if (link.signal.aborted) return { code: 1000, reason: "left" };
  return new Promise((resolve) => {
    const address = link.url(`/ws${query({ ...link.query, ...(ticket ? { ticket } : {}) })}`).replace(/^http/, "ws");
    const socket = new WebSocket(address);
    const leave = () => {
      // A peer that is gone never finishes the closing handshake, so nobody waits for it: deaf first, then closed.
      socket.onmessage = socket.onclose = null;
      socket.close(1000);
      resolve({ code: 1000, reason: "left" });
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
 * see the comments that are the heartbeat, and never reconnects behind the client's back.
 */
async function sse(link) {
  const response = await fetch(link.url(`/sse${query(link.query)}`), {
    headers: { Accept: "text/event-stream", ...link.headers },
    cache: "no-store",
    signal: link.signal,
  });
  if (response.status === 204) throw new Refusal(204, { detail: "the server has nothing more to say" });
  if (!response.ok) throw await Refusal.of(response);
  const lines = response.body.pipeThrough(new TextDecoderStream());
  let rest = "";
  let name = "";
  let id = "";
  let data = [];
  for await (const chunk of chunks(lines)) {
    link.heard();
    const parts = (rest + chunk).split(/\r\n|\n|\r(?!$)/);
    rest = parts.pop();
    for (const line of parts) {
      if (line === "") {
        if (data.length) {
          const object = JSON.parse(data.join("\n"));
          if (name && name !== "message") link.take({ control: name, ...object });
          else link.take(object.cursor ? object : { ...object, cursor: id });
        }
        name = "";
        data = [];
        continue;
      }
      const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
      if (field === "data") data.push(value);
      else if (field === "event") name = value;
      else if (field === "id") id = value;
    }
  }
  return { code: 1000, reason: "the stream ended" };
}

// `for await` over a ReadableStream is not in every browser yet.
async function* chunks(stream) {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// 25 s: under the 30 s at which many proxies give up on a silent answer, and under the watchdog's 35 s.
const WAIT = 25;

async function polling(link) {
  let position = link.query;
  let ready = false;
  for (;;) {
    const response = await fetch(link.url(`/events${query({ ...position, limit: 500, wait: ready ? WAIT : 0 })}`), {
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

export const TRANSPORTS = Object.freeze({ websocket, sse, polling });
