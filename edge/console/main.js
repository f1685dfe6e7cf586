/** Puts the console together: one client, one store, five views. */

import { connect } from "../client/index.js";
import { Store } from "./store.js";
import { alertsView } from "./views/alerts.js";
import { barView } from "./views/bar.js";
import { cameraView } from "./views/camera.js";
import { renderView } from "./views/render.js";
import { runsView } from "./views/runs.js";
import { streamView } from "./views/stream.js";

// What a fresh page shows of the past.
const HISTORY = 200;

/** `/#token=…` hands the page a token; the part behind # is sent nowhere, and goes out of the address at once. */
const handed = /^#token=(.+)$/.exec(location.hash)?.[1];
if (handed) {
  sessionStorage.setItem("callboard.token", decodeURIComponent(handed));
  history.replaceState(null, "", location.pathname + location.search);
}

const client = connect(location.origin, { last: HISTORY, token: sessionStorage.getItem("callboard.token") });
const store = new Store(() => client.clock.now());

/** What happened before the history begins: the latest state of everything, as lists; and what of it this page may see. */
async function loadSnapshots() {
  await Promise.all([
    client.get("/me").then((rights) => store.allow(rights), (fault) => store.allow(null, fault)),
    ...["runs", "alerts", "cameras", "octanes"].map(async (name) => {
      try {
        store.load(name, (await client.get(`/${name}`))[name]);
        store.fault(name, null);
      } catch (fault) {
        // The next `live` asks again.
        store.fault(name, fault);
      }
    }),
  ]);
}

let leftAt = 0;
client.on("*", (event) => store.take(event));
client.onNotice((notice) => {
  if (notice.control === "gap") store.note("Events are missing here: they were no longer kept when this page came back for them.", "bad");
});
client.onState((state) => {
  store.connect(state);
  const { phase, transport, reason } = state;
  if (phase === "live") {
    if (leftAt) store.note(`Connected again by ${transport} after ${((Date.now() - leftAt) / 1000).toFixed(1)} s, resumed where it broke off.`);
    leftAt = 0;
    loadSnapshots();
  } else if ((phase === "waiting" || phase === "offline") && !leftAt && client.stats.connections) {
    leftAt = Date.now();
    store.note(`Connection lost: ${reason}.`, "warn");
  }
});

const mount = (id) => document.getElementById(id);
barView(mount("bar"), store, client);
cameraView(mount("camera"), store, client);
renderView(mount("render"), store, client);
runsView(mount("runs"), store, client);
alertsView(mount("alerts"), store, client);
streamView(mount("stream"), store, client);

// For the browser's own console, and for tests.
globalThis.callboard = { client, store };
