/** Asks the server over HTTP, and tells a refusal from a broken network. */

import { sleep } from "./backoff.js";

// For one answer; the server itself answers within a second or two.
const PATIENCE = 10_000;

// Of a browser to a host over HTTP/1.1; ms between two tries, and for all of them.
const CONNECTIONS = 6;
const BETWEEN = 250;
const FRESHENING = 2_000;

/** The server answered, and the answer was no. */
export class Refusal extends Error {
  constructor(status, { code = "", detail = "", retryAfter = null, field = "" } = {}) {
    super(detail || `the server answered ${status}`);
    Object.assign(this, { name: "Refusal", status, code, retryAfter, field });
  }

  static async of(response) {
    const problem = (await response.json().catch(() => null)) ?? {};
    return new Refusal(response.status, {
      ...problem,
      detail: problem.detail ?? problem.title,
      retryAfter: Number.parseFloat(response.headers.get("Retry-After")) * 1000 || null,
    });
  }
}

export const query = (values) => {
  const text = String(new URLSearchParams(Object.entries(values).filter(([, value]) => value !== null && value !== undefined)));
  return text ? `?${text}` : "";
};

export const bearer = (token) => (token ? { Authorization: `Bearer ${token}` } : {});

/** Returns the answer's JSON, null where it has none. Throws Refusal, or what `fetch` throws. */
export async function ask(base, method, path, { body, token, signal, headers = {}, keepalive = false, patience = PATIENCE } = {}) {
  const limits = [AbortSignal.timeout(patience), ...(signal ? [signal] : [])];
  const response = await fetch(base + path, {
    method,
    headers: { ...bearer(token), ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...headers },
    body: JSON.stringify(body),
    cache: "no-store",
    keepalive,
    signal: AbortSignal.any(limits),
  });
  if (!response.ok) throw await Refusal.of(response);
  return response.status === 204 ? null : response.json();
}

/**
 * Lets go of connections that died in silence. A browser keeps up to six to a host, and sends the next requests by them: each would
 * wait in vain. So it is asked for a sign of life, again and again on another one, until one of them answers or time is up.
 */
export async function freshen(base, { credentials }) {
  const life = new AbortController();
  const signal = AbortSignal.any([life.signal, AbortSignal.timeout(FRESHENING)]);
  const asking = Array.from({ length: CONNECTIONS }, async (_, turn) => {
    await sleep(turn * BETWEEN);
    if (!signal.aborted) await fetch(`${base}/livez`, { method: "HEAD", cache: "no-store", credentials, signal });
  });
  await Promise.any(asking).catch(() => {});
  life.abort();
}

export const sessionPath = (id) => `/callbacks/sessions/${encodeURIComponent(id)}`;

/** A key that nothing else has. `crypto.randomUUID` is for secure contexts only. */
export const unique = () => crypto.getRandomValues(new Uint32Array(4)).join("-");
