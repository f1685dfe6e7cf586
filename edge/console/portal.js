/**
 * The page of one endpoint for its own owner: `/portal/<session>#token=…`. It knows nothing but this session, opens no stream, and
 * may stand in a frame of the pages that the server's settings name.
 */

import { h, icon, say, show } from "./dom.js";
import { toast } from "./parts/toast.js";
import { sessionsApi } from "./places/sessions/api.js";
import { endpointView } from "./places/webhooks/endpoint.js";

const id = decodeURIComponent(location.pathname.split("/").filter(Boolean)[1] ?? "");
const KEPT = `callboard.portal.${id}`;

/** In a frame of another site the browser may have no storage for this page; then the token lasts as long as the page. */
const storage = {
  get: () => {
    try {
      return sessionStorage.getItem(KEPT);
    } catch {
      return null;
    }
  },
  set: (value) => {
    try {
      sessionStorage.setItem(KEPT, value);
    } catch { /* there is none */ }
  },
};

let token = storage.get();
/** A link in a page that is open already changes nothing but what is behind `#`. */
function takeToken() {
  const handed = /^#token=(.+)$/.exec(location.hash)?.[1];
  if (!handed) return false;
  token = decodeURIComponent(handed);
  storage.set(token);
  // What is behind # is sent nowhere, and goes out of the address at once.
  history.replaceState(null, "", location.pathname + location.search);
  return true;
}

const outlet = document.getElementById("place");
const banner = document.getElementById("banner");
let view = null;

/** Says that the server cannot be reached, and what is shown is old. */
const watched = (api) => Object.fromEntries(Object.entries(api).map(([name, call]) => [name, typeof call !== "function" ? call : async (...given) => {
  try {
    const answer = await call(...given);
    show(banner, false);
    return answer;
  } catch (fault) {
    if (fault.status === 401) ended(fault);
    else if (fault.status) show(banner, false);
    else {
      banner.dataset.kind = "offline";
      banner.replaceChildren(icon("alert"), "The server cannot be reached. What is shown may be old; it is tried again.");
      show(banner, true);
    }
    throw fault;
  }
}]));

/** The link is not good any more: nothing of what it showed stays. */
function ended(fault) {
  view?.close();
  view = null;
  const title = h("p.lesson-title");
  outlet.replaceChildren(h("div.lesson.state", { role: "status", dataset: { kind: "denied" } }, icon("lock"), title, h("p", {}, "Ask whoever sent you here for a new link.")));
  say(title, fault.code === "token_expired" ? "This link has expired" : token ? "This link is not valid" : "This page needs a link with a token");
}

function open() {
  view?.close();
  const client = { base: location.origin, proof: async () => token };
  view = endpointView({
    api: watched(sessionsApi(client).session(id)), id, toast, now: Date.now,
    titled: (text) => (document.title = `${text} · Webhook`),
  });
  // A refusal may have come while it was made.
  if (view) outlet.replaceChildren(view.element);
}

takeToken();
addEventListener("hashchange", () => takeToken() && open());
open();
