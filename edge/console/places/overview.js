/** The place that a visit begins at: what is wrong, how much goes through, who reads, and what runs. */

import { h, icon, say, show } from "../dom.js";
import { bytes, duration, short } from "../format.js";
import { arrange } from "../parts/arrange.js";
import { plot } from "../parts/plot.js";
import { denied, kindOf, loading } from "../parts/states.js";
import { setTime, time } from "../parts/time.js";
import { heading } from "../parts/toolbar.js";
import { PLACES } from "../places.js";
import { TERMINAL } from "../store.js";
import { ofAlerts, ofCameras, ofDeadLetters, ofOctanes, ofReadiness, ofRuns, ofStats, ofWebhooks, ranked, unsaid } from "./overview/problems.js";

// The samples come every ten seconds (ms).
const EVERY = 10_000;
const HOUR = 3_600_000;
// A server that was started just now has its first two samples within 20 s; until then it is asked again after so long (ms).
const SOON = 2_000;
// The shortest stretch that a plot shows (ms).
const LEAST = 300_000;
const SHOWN = 8;
const WEBHOOKS = 20;
const WAYS = { websocket: "WebSocket", sse: "SSE", polling: "Polling", webhook: "Webhook" };
const READERS = ["websocket", "sse", "polling"];
const TONES = { websocket: "accent", sse: "ok", polling: "warn", webhook: "violet" };

const byWay = (counts) => Object.entries(counts).filter(([, count]) => count).map(([way, count]) => `${count}\u00a0${WAYS[way] ?? way}`).join(", ") || "none";

const running = ({ runs }) => [...runs.values()].filter((run) => !TERMINAL.has(run.status)).length;
const TILES = [
  { topic: "runs", title: "Runs", icon: "runs", place: "runs", count: running, word: "running" },
  { topic: "alerts", title: "Alerts", icon: "alert", place: "alerts", count: ({ alerts }) => [...alerts.values()].filter(({ state }) => state === "firing").length, word: "firing" },
  { topic: "cameras", title: "Cameras", icon: "camera", place: "cameras", count: ({ cameras }) => [...cameras.values()].filter(({ status }) => status !== "gone" && status !== "failed").length, word: "at work" },
  { topic: "octanes", title: "Renders", icon: "render", place: "renders", count: ({ octanes }) => [...octanes.values()].filter(({ statistics }) => statistics?.state === "rendering").length, word: "rendering" },
];

function tile({ store, addressOf }, { topic, title, icon: picture, place, count, word }) {
  const value = h("span.value");
  const text = h("span.word");
  const element = h("a.tile", { href: addressOf(place), dataset: { tile: topic } }, icon(picture), h("span.name", {}, title), value, text);
  const end = store.watch(topic, () => {
    const situation = store.situation(topic);
    const hidden = situation && situation.kind !== "partial";
    say(value, hidden ? "–" : String(count(store)));
    say(text, hidden ? situation.badge : word);
    element.title = situation?.title ?? "";
  });
  return { element, end };
}

/** The problems as rows that stay the same while they last. */
function problemList() {
  const list = h("ol.problems", { "aria-label": "Problems" });
  const clear = h("p.all-clear", {}, icon("check"), h("span", {}, "Nothing is wrong that this page can see."));
  const rest = h("p.faint");
  const rows = new Map();
  const make = () => {
    const parts = { title: h("strong"), text: h("p"), since: time(null), link: h("a.quiet") };
    parts.element = h("li", {}, h("span.mark", {}, icon("alert")), h("div.what", {}, h("p.line", {}, parts.title, parts.since), parts.text), parts.link);
    return parts;
  };
  const set = (problems) => {
    const shown = problems.slice(0, SHOWN);
    const lines = shown.map((each) => {
      if (!rows.has(each.key)) rows.set(each.key, make());
      const row = rows.get(each.key);
      row.element.className = each.tone;
      say(row.title, each.title);
      say(row.text, each.text);
      show(row.since, Boolean(each.since));
      if (each.since) setTime(row.since, each.since);
      show(row.link, Boolean(each.action));
      if (each.action) {
        row.link.href = each.action.href;
        say(row.link, each.action.label);
      }
      return row.element;
    });
    arrange(list, lines);
    for (const [key, row] of rows) if (!lines.includes(row.element)) rows.delete(key);
    show(clear, !problems.length);
    show(list, problems.length > 0);
    say(rest, problems.length > SHOWN ? `and ${problems.length - SHOWN} more` : "");
  };
  return { element: h("section.card.wrong", { "aria-label": "What is wrong" }, h("h3", {}, "What is wrong"), clear, list, rest), set };
}

/** The facts of the system: what is kept, who reads, how far behind. */
function factList() {
  const cells = new Map();
  const list = h("dl.figures-list");
  const set = (name, text, title = "") => {
    if (!cells.has(name)) {
      cells.set(name, h("dd"));
      list.append(h("div", {}, h("dt", {}, name), cells.get(name)));
    }
    say(cells.get(name), text);
    cells.get(name).title = title;
  };
  return { element: h("section.card.facts-card", { "aria-label": "The system" }, h("h3", {}, "The system"), list), set };
}

class Overview {
  #context;
  #known = { readiness: null, stats: null, throughput: null, deadletters: null, webhooks: null };
  #timer;
  #soon = null;
  #ends = [];
  #closed = false;

  constructor(context) {
    this.#context = context;
    const head = heading("home", "Overview");
    this.problems = problemList();
    this.facts = factList();
    this.stored = plot("Events in", { unit: "/s" });
    this.delivered = plot("Events out", { unit: "/s", series: Object.keys(WAYS).map((way) => ({ name: WAYS[way], tone: TONES[way] })) });
    this.readers = plot("Readers", { series: READERS.map((way) => ({ name: WAYS[way], tone: TONES[way] })) });
    this.lag = plot("Lag of the slowest reader", { unit: " events", series: [{ name: "lag", tone: "warn" }] });
    this.plots = h("div.plots", { "aria-label": "The last hour" }, loading("the last hour"));
    const tiles = TILES.map((each) => tile(context, each));
    this.#ends.push(...tiles.map(({ end }) => end));
    this.element = h("section.page.overview", { id: "overview" }, head.element, this.problems.element, h("div.tiles", {}, ...tiles.map(({ element }) => element)), this.plots, this.facts.element);
    for (const topic of ["runs", "alerts", "cameras", "octanes"]) this.#ends.push(context.store.watch(topic, () => this.#judge()));
    this.#ends.push(context.client.onState(({ phase }) => phase === "live" && this.#read()));
    this.#timer = setInterval(this.#look, EVERY);
    document.addEventListener("visibilitychange", this.#look);
    this.#ends.push(() => document.removeEventListener("visibilitychange", this.#look));
  }

  // Nobody looks at a hidden page; it reads when it is shown again.
  #look = () => document.hidden || this.#read();

  close() {
    this.#closed = true;
    clearInterval(this.#timer);
    clearTimeout(this.#soon);
    for (const end of this.#ends) end();
  }

  async #read() {
    const { client } = this.#context;
    const ask = async (name, path) => {
      try {
        this.#known[name] = await client.get(path);
        return null;
      } catch (fault) {
        this.#known[name] = null;
        return fault;
      }
    };
    // `/readyz` answers 503 with the same body where something is wrong.
    const ready = fetch(`${client.base}/readyz`, { cache: "no-store", signal: AbortSignal.timeout(5_000) }).then((answer) => answer.json()).then((body) => (this.#known.readiness = body)).catch(() => (this.#known.readiness = null));
    const [throughput] = await Promise.all([ask("throughput", "/throughput"), ask("stats", "/callbacks/stats"), ask("deadletters", "/deadletters/summary"), this.#webhooks(), ready]);
    if (this.#closed) return;
    this.#draw(throughput);
    this.#judge();
  }

  /** How the webhooks are, those that were made last first, as many as can be asked in a moment. */
  async #webhooks() {
    const { client } = this.#context;
    try {
      const { sessions } = await client.get("/callbacks/sessions?limit=1000");
      const asked = sessions.filter((session) => session.delivery_method === "webhook").slice(-WEBHOOKS);
      this.#known.webhooks = await Promise.all(asked.map(async ({ session_id: id, name }) => ({ ...(await client.get(`/callbacks/sessions/${encodeURIComponent(id)}/health`)), name })));
    } catch {
      this.#known.webhooks = null;
    }
  }

  #draw(fault) {
    const { throughput } = this.#known;
    if (!throughput) {
      if (kindOf(fault) === "denied") this.plots.replaceChildren(denied("the throughput", "operate", "Everything else on this page is what your token may see."));
      else if (fault && !this.plots.querySelector(".plot")) this.plots.replaceChildren(loading("the last hour"));
      return;
    }
    const { samples } = throughput;
    if (!this.plots.querySelector(".plot")) this.plots.replaceChildren(this.stored.element, this.delivered.element, this.readers.element, this.lag.element);
    const times = samples.map((sample) => sample.time * 1000);
    // A server that was started just now shows what there is, and not an empty hour before it.
    const span = Math.min(HOUR, Math.max(LEAST, (times.at(-1) ?? 0) - (times[0] ?? 0)));
    this.stored.set(times, [samples.map((sample) => sample.stored)], span);
    this.delivered.set(times, Object.keys(WAYS).map((way) => samples.map((sample) => sample.delivered[way] ?? 0)), span);
    // Of these two the present is known as well, and said below the plots.
    const { stats } = this.#known;
    const readers = stats && READERS.reduce((sum, way) => sum + (stats.readers[way] ?? 0), 0);
    this.readers.set(times, READERS.map((way) => samples.map((sample) => sample.readers[way] ?? 0)), span, readers);
    this.lag.set(times, [samples.map((sample) => sample.lag)], span, stats && stats.lag_events);
    if (times.length < 2) this.#soon ??= setTimeout(() => { this.#soon = null; this.#look(); }, SOON);
  }

  #judge() {
    const { store, addressOf, now, client } = this.#context;
    const { readiness, stats, deadletters, webhooks, throughput } = this.#known;
    const placeOf = (name, label, path = []) => (PLACES.some((place) => place.name === name) ? { label, href: addressOf(name, path) } : null);
    const found = [
      ...ofReadiness(readiness), ...ofRuns(store.runs.values(), now(), addressOf), ...ofCameras(store.cameras.values(), addressOf),
      ...ofOctanes(store.octanes.values(), addressOf), ...ofDeadLetters(deadletters, placeOf), ...ofWebhooks(webhooks, placeOf), ...ofStats(stats),
    ];
    this.problems.set(ranked([...ofAlerts(unsaid(store.alerts.values(), found), addressOf), ...found]));
    const kept = throughput?.stored;
    this.facts.set("Events kept", kept ? `${short(kept.events)} · ${bytes(kept.bytes)}` : "–");
    this.facts.set("Sessions", stats ? byWay(stats.sessions_by_method) : "–");
    this.facts.set("Readers now", stats ? byWay(stats.readers) : "–");
    this.facts.set("Lag", stats ? `${short(stats.lag_events)} ${stats.lag_events === 1 ? "event" : "events"}${stats.lag_events ? `, ${duration(stats.oldest_event_seconds)}` : ""}` : "–", "How far the slowest reader is behind the newest event");
    this.facts.set("Deliveries that failed", stats ? short(stats.events_failed) : "–");
    this.facts.set("Edges", stats ? `${stats.edges}, up ${duration(stats.uptime_seconds)}` : "–");
    this.facts.set("This page", `${WAYS[client.state.transport] ?? client.state.phase}, ${short(client.stats.events)} events, ${client.stats.gaps} gaps`);
  }
}

export default {
  styles: ["/console/places/overview.css"],
  open: (context) => new Overview(context),
};
