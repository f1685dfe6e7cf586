/**
 * Lists the places of the console, in the order of the navigation. Each is a module `places/<name>.js`, which is loaded when it is
 * opened, and has the address `/console/<name>`; the server answers every path below that with the page.
 */

/** `key` is pressed after `g`. */
const LIST = [
  { name: "overview", title: "Overview", icon: "home", key: "o", load: () => import("./places/overview.js") },
  { name: "events", title: "Events", icon: "stream", key: "e", load: () => import("./places/events.js") },
  { name: "sessions", title: "Sessions", icon: "sessions", key: "s", load: () => import("./places/sessions.js") },
  { name: "webhooks", title: "Webhooks", icon: "webhook", key: "w", load: () => import("./places/webhooks.js") },
  { name: "deadletters", title: "Dead letters", icon: "deadletter", key: "d", load: () => import("./places/deadletters.js") },
  { name: "runs", title: "Runs", icon: "runs", key: "r", load: () => import("./places/runs.js") },
  { name: "alerts", title: "Alerts", icon: "alert", key: "a", load: () => import("./places/alerts.js") },
  { name: "renders", title: "Renders", icon: "render", key: "n", load: () => import("./places/renders.js") },
  { name: "cameras", title: "Cameras", icon: "camera", key: "c", load: () => import("./places/cameras.js") },
  { name: "actors", title: "Actors", icon: "actors", key: "t", load: () => import("./places/actors.js") },
];

export const PLACES = Object.freeze(LIST);

export const HOME = "overview";

/** The address of a place, or of what lies in it: `addressOf("runs", ["job", "run-42"], { tab: "output" })`. */
export function addressOf(name, path = [], query = {}) {
  const rest = path.map((part) => `/${encodeURIComponent(part)}`).join("");
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(given).toString();
  return `/console/${name}${rest}${text && `?${text}`}`;
}

/** What an address of this server opens: `{ name, path, query }`; null where it is no place's. `/` is the overview's. */
export function parseAddress({ pathname, search }) {
  const query = new URLSearchParams(search);
  if (pathname === "/") return { name: HOME, path: [], query };
  const parts = pathname.split("/").filter(Boolean);
  if (parts.shift() !== "console") return null;
  const name = parts.shift();
  if (!PLACES.some((place) => place.name === name)) return null;
  try {
    return { name, path: parts.map(decodeURIComponent), query };
  } catch {
    return { name, path: [], query };
  }
}
