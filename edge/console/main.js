/** Puts the console together: one client, one store, the frame with its places. */

import { connect } from "../client/index.js";
import { banner, standing } from "./banner.js";
import { h, icon } from "./dom.js";
import { KEPT, login, tokenOf } from "./login.js";
import { navigation } from "./navigation.js";
import { palette } from "./palette.js";
import { asking, passing } from "./parts/again.js";
import { setClock } from "./parts/time.js";
import { faulty, loading } from "./parts/states.js";
import { toast } from "./parts/toast.js";
import { PLACES, addressOf } from "./places.js";
import { Reach } from "./reach.js";
import { Router } from "./router.js";
import { WANTS_TOKEN } from "./standing.js";
import { STATES, Store } from "./store.js";
// Written by the server, from its catalogue of event types.
import { OUTPUT } from "./types.js";
import { barView } from "./views/bar.js";

// What a fresh page shows of the past.
const HISTORY = 200;
// When the first view has had its turn (ms).
const PREPARING = 3_000;
// Until a ticket that was handed over is given in again where the network failed (ms).
const HANDING = [500, 1_000, 2_000, 4_000];
// A place that is there sooner is not announced (ms).
const SOON = 150;
// A page that nobody has looked at for so long gives up its connection (ms), and says in its title that it does not know of alerts.
const RESTING = 120_000;

/** The token that was handed over; null where its ticket is spent, or the server cannot be reached for long: the login view asks then. */
async function tokenHanded(given) {
  for (const wait of [...HANDING, null]) {
    try {
      return await tokenOf(location.origin, given);
    } catch (fault) {
      if (wait === null || !passing(fault)) return null;
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
  return null;
}

/** `/#token=…` and `/#ticket=…` sign in; the part behind # is sent nowhere, and goes out of the address at once. */
const handed = /^#(?:token|ticket)=(.+)$/.exec(location.hash)?.[1];
if (handed) {
  history.replaceState(null, "", location.pathname + location.search);
  const token = await tokenHanded(decodeURIComponent(handed));
  if (token) sessionStorage.setItem(KEPT, token);
}
// Addresses of before there were places.
const MOVED = { "#viewport": "renders", "#camera-view": "cameras" };
if (location.pathname === "/" && MOVED[location.hash]) history.replaceState(null, "", addressOf(MOVED[location.hash]) + location.hash);

// What the frame and its lists need. The place of the events asks for all of them, while it is open.
const client = connect(location.origin, { types: [...new Set([...STATES, ...OUTPUT.keys()])], last: HISTORY, pauseHidden: RESTING, name: "Console", token: sessionStorage.getItem(KEPT) ?? localStorage.getItem(KEPT) });
const store = new Store();
setClock(() => client.clock.now());

/** What happened before the history begins: the latest state of everything, as lists; and what of it this page may see. */
const needed = () => client.state.phase === "live";
const snapshots = [
  asking(async () => store.allow(await client.get("/me")), { failed: (fault) => store.allow(null, fault), needed }),
  ...["runs", "alerts", "cameras", "octanes"].map((name) => asking(async () => {
    store.load(name, (await client.get(`/${name}`))[name]);
    store.fault(name, null);
  }, { failed: (fault) => store.fault(name, fault), needed })),
];

// When the server said that it restarts (ms since the epoch).
let drainedAt = 0;
client.on("*", (event) => store.take(event));
client.onNotice(({ control, reason }) => {
  if (control === "bye") drainedAt = reason === "shutdown" ? Date.now() : 0;
  if (control === "ready") drainedAt = 0;
});
client.onState((state) => {
  store.connect(state);
  if (state.phase === "live") for (const ask of snapshots) ask();
});

const mount = (id) => document.getElementById(id);

function signIn(token, keep) {
  (keep ? localStorage : sessionStorage).setItem(KEPT, token);
  // One of this tab alone comes first when the page is loaded again, and an older one would stay.
  if (keep) sessionStorage.removeItem(KEPT);
  client.token = token;
  client.retry();
}
function signOut() {
  localStorage.removeItem(KEPT);
  sessionStorage.removeItem(KEPT);
  // Nothing of what was shown stays in memory.
  location.reload();
}

const outlet = mount("place");
const gate = h("div.gate", { hidden: true });
outlet.before(gate);
const tellLogin = login(gate, client.base, signIn);
const tellBanner = banner(mount("banner"), client);
const reach = new Reach(client, () => {
  tell();
  drawBar();
});
function now() {
  return standing(client, reach, drainedAt);
}
function tell() {
  const { phase, code, reason } = client.state;
  const wanted = phase === "refused" && WANTS_TOKEN.has(code);
  tellLogin(wanted ? code : "", reason);
  outlet.hidden = wanted;
  tellBanner(now(), wanted);
}

const names = navigation(mount("places"), store);
let title = "";
function retitle() {
  const firing = [...store.alerts.values()].filter((alert) => !alert.resolved).length;
  const mark = firing ? `(${firing}) ` : store.situation("alerts") ? "(?) " : "";
  document.title = `${mark}${title ? `${title} · ` : ""}Callboard`;
}
store.watch("alerts", retitle);

let announcing = null;
let first = true;
const router = new Router(outlet, {
  opening(place) {
    names.at(place.name);
    clearTimeout(announcing);
    announcing = setTimeout(() => outlet.replaceChildren(loading(place.title)), SOON);
  },
  opened(place, view) {
    clearTimeout(announcing);
    names.at(place.name);
    outlet.dataset.place = place.name;
    title = view.title ?? place.title;
    retitle();
    // Who came by a link reads on at the place, and not where the link was.
    if (!first && !outlet.contains(document.activeElement)) outlet.focus({ preventScroll: true });
    first = false;
  },
  failed(place, fault, again) {
    clearTimeout(announcing);
    title = place.title;
    retitle();
    outlet.replaceChildren(faulty(fault, `the page “${place.title}”`, { again }));
  },
});
const navigate = (address, options) => router.go(address, options);
const find = palette({ client, store, navigate });
const drawBar = barView(mount("bar"), store, client, { find, signOut, now });

/** What a place is handed: see parts/README.md. */
const context = Object.freeze({
  client, store, toast, addressOf, navigate,
  mark: (path, query, options) => router.mark(path, query, options),
  now: () => client.clock.now(),
  retitle(text) {
    title = text;
    retitle();
  },
});

const typing = (target) => target.matches?.("input, select, textarea, [contenteditable], [role=application]");
let going = 0;
document.addEventListener("keydown", (press) => {
  if ((press.ctrlKey || press.metaKey) && press.key.toLowerCase() === "k") {
    press.preventDefault();
    find();
    return;
  }
  if (press.ctrlKey || press.metaKey || press.altKey || typing(press.target) || document.querySelector("dialog[open]")) return;
  if (press.key === "/") {
    press.preventDefault();
    find();
  } else if (press.key === "g") going = Date.now();
  else if (Date.now() - going < 1_500) {
    going = 0;
    const place = PLACES.find(({ key }) => key === press.key);
    if (place) navigate(addressOf(place.name));
  }
});

// The other places are read when there is time: without a connection they can be opened all the same.
const idle = globalThis.requestIdleCallback ?? ((run) => setTimeout(run, 200));
client.onState(({ phase }) => phase === "live" && setTimeout(() => idle(() => PLACES.forEach(({ name }) => router.prepare(name))), PREPARING));

client.onState(tell);
setInterval(() => !document.hidden && tell(), 1_000);
router.start(context);

// For the browser's own console, and for tests.
globalThis.callboard = { client, store, router };
