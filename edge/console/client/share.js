/**
 * Finds who holds the connection for this page: a SharedWorker for all tabs of the origin; where there are none, one tab for
 * the others (it holds a lock, and whoever gets the lock next goes on in its place); else this page itself.
 */

import { Host } from "./host.js";

// The first word of the worker, which has to be fetched first (ms).
const STARTING = 5_000;
// A page says that it is there (ms).
const ALIVE = 20_000;
const NAME = "callboard 1";

const withWorker = () => typeof SharedWorker !== "undefined";
// In a page only: Node has both as well, and nobody to share with.
const withLocks = () => typeof document !== "undefined" && typeof BroadcastChannel !== "undefined" && Boolean(navigator.locks);

// The links of this page to the worker.
const links = new Set();

const HERE = import.meta.url;
// Served as it is, and no part of a bundle.
const AS_IT_IS = /^https?:.*\/share\.js(\?|$)/.test(HERE);

/** Opens the worker. Throws where it is of another origin, or forbidden. */
function open() {
  // Webpack and Vite make a worker of this form, and of no other.
  if (!AS_IT_IS) return new SharedWorker(new URL("./worker.js", import.meta.url), { type: "module", name: "callboard 1" });
  const url = new URL("./worker.js", HERE);
  // A policy that demands Trusted Types takes no plain address of a script.
  const policy = globalThis.trustedTypes?.createPolicy("callboard", { createScriptURL: (given) => given });
  return new SharedWorker(policy ? policy.createScriptURL(url) : url, { type: "module", name: NAME });
}

/**
 * Returns `{post(message), close(), last}`; `last` says whether this page is the only one of a worker, which ends with it. `ready` is
 * called whenever there is a host that knows nothing of this page yet, and `hear` with what it says. `how` is auto, worker,
 * broadcast or none.
 */
export function join(how, ready, hear) {
  const ways = { worker: [byWorker], broadcast: [byBroadcast], none: [] }[how] ?? [byWorker, byBroadcast];
  const link = {
    closed: false,
    // How many pages the worker has; 0 where there is none, or nothing was said yet.
    tabs: 0,
    post: () => {},
    end: () => {},
    get last() {
      return link.tabs > 0 && link.tabs <= links.size;
    },
  };
  const next = (at) => {
    if (link.closed) return;
    const way = [...ways, alone][at];
    way(link, { ready: (post) => ready((link.post = post)), hear, failed: () => next(at + 1) });
  };
  link.close = () => {
    link.closed = true;
    link.post({ do: "leave", last: link.last });
    link.end();
    link.post = () => {};
  };
  next(0);
  return link;
}

function alone(link, { ready, hear }) {
  const host = new Host();
  const later = (message) => queueMicrotask(() => hear(message));
  link.end = () => host.end();
  ready((message) => host.receive(link, message, later));
}

function byWorker(link, { ready, hear, failed }) {
  if (!withWorker()) return failed();
  let worker;
  try {
    worker = open();
  } catch {
    return failed();
  }
  const { port } = worker;
  links.add(link);
  let silent = 0;
  link.end = () => {
    links.delete(link);
    // What the worker says of the number of its pages comes too late for a page that is being left.
    link.tabs = 0;
    for (const other of links) other.tabs -= 1;
    clearTimeout(starting);
    clearInterval(living);
    port.close();
  };
  const give = () => {
    link.end();
    port.onmessage = worker.onerror = null;
    failed();
  };
  const starting = setTimeout(give, STARTING);
  const living = setInterval(() => {
    port.postMessage({ do: "alive" });
    silent += 1;
    // It was ended: this page goes on by itself.
    if (silent > 3) give();
  }, ALIVE);
  worker.onerror = give;
  port.onmessage = ({ data }) => {
    silent = 0;
    clearTimeout(starting);
    if (data.say === "hello") ready((message) => port.postMessage(message));
    else if (data.say === "tabs") link.tabs = data.count;
    else if (data.say !== "alive") hear(data);
  };
}

function byBroadcast(link, { ready, hear, failed }) {
  if (!withLocks()) return failed();
  const bus = new BroadcastChannel(NAME);
  const me = crypto.randomUUID();
  const life = new AbortController();
  let host = null;
  let release = () => {};
  const here = (message) => queueMicrotask(() => hear(message));
  const there = (message) => bus.postMessage({ from: me, to: "host", message });
  bus.onmessage = ({ data: { from, to, message } }) => {
    if (to === "host" && host) host.receive(from, message, (answer) => bus.postMessage({ to: from, message: answer }));
    else if (to === me || to === "*") {
      if (message.say === "hello") ready(there);
      else if (message.say !== "alive") hear(message);
    }
  };
  const lead = () => {
    host = new Host();
    ready((message) => host.receive(me, message, here));
    bus.postMessage({ to: "*", message: { say: "hello" } });
    return new Promise((resolve) => (release = resolve));
  };
  navigator.locks.request(NAME, { signal: life.signal }, lead).catch(() => {});
  // Whoever leads answers `hello`.
  there({ do: "alive" });
  const living = setInterval(() => !host && there({ do: "alive" }), ALIVE);
  link.end = () => {
    clearInterval(living);
    life.abort();
    host?.end();
    release();
    bus.close();
  };
}
