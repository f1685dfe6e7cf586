/** Says why a transport of pictures ended, in a form that tells the player what to do next. */

/**
 * `kind` is one of: `unsupported` (this transport cannot be had here), `unreachable` (no connection came about), `lost` (it broke),
 * `silent` (it is open and brings nothing), `outrun` (another one brought a picture first), `broken` (what came cannot be decoded), `refused` (the server said no), `drained` (the
 * server asks to connect again at once). `more.ofCodec` says that other transports of the same codec would fail likewise.
 */
export class Fault extends Error {
  constructor(kind, message, more = {}) {
    super(message);
    this.name = "Fault";
    this.kind = kind;
    Object.assign(this, more);
  }
}

/** Any error of a transport as a Fault. A Refusal of the server has a `status`. */
export function faultOf(error) {
  if (error instanceof Fault) return error;
  if (error?.status) return new Fault("refused", error.message, { status: error.status, code: error.code ?? "" });
  return new Fault("lost", error?.message || String(error));
}

/** Runs `body(resolve, reject)` until it settles or the signal ends it; `clean` runs then, once. */
export async function until(signal, body, clean) {
  try {
    await new Promise((resolve, reject) => {
      if (signal.aborted) return resolve();
      signal.addEventListener("abort", resolve, { once: true });
      return body(resolve, reject);
    });
  } finally {
    clean();
  }
}
