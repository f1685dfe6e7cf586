/** Asks the server over HTTP, and tells a refusal from a broken network. */

// For one answer; the server itself answers within a second or two.
const PATIENCE = 10_000;

/** The server answered, and the answer was no. */
export class Refusal extends Error {
  constructor(status, { code = "", detail = "", retryAfter = null } = {}) {
    super(detail || `the server answered ${status}`);
    this.name = "Refusal";
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

export const query = (values) => {
  const text = new URLSearchParams(Object.entries(values).filter(([, value]) => value !== null && value !== undefined)).toString();
  return text ? `?${text}` : "";
};

export const bearer = (token) => (token ? { Authorization: `Bearer ${token}` } : {});

/** Returns the answer's JSON, null where it has none. Throws Refusal, or what `fetch` throws. */
export async function ask(base, method, path, { body, token, signal, headers = {}, keepalive = false, patience = PATIENCE } = {}) {
  const limits = [AbortSignal.timeout(patience), ...(signal ? [signal] : [])];
  const response = await fetch(base + path, {
    method,
    headers: { ...bearer(token), ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
    cache: "no-store",
    keepalive,
    signal: AbortSignal.any(limits),
  });
  if (!response.ok) throw await Refusal.of(response);
  return response.status === 204 ? null : response.json();
}

export const sessionPath = (id) => `/callbacks/sessions/${encodeURIComponent(id)}`;

/** A key that nothing else has. `crypto.randomUUID` is for secure contexts only. */
export const unique = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("");
