/**
 * Turns events into what the page shows: runs, alerts, cameras and renders.
 *
 * Views watch a topic and are told at most once per picture drawn, however many events arrived meanwhile.
 */

import { moment } from "./format.js";
import { escapeToken, unescapeToken } from "../client/tokens.js";
import { explain } from "./standing.js";
// Written by the server, from its catalogue of event types.
import { OUTCOMES, OUTPUT, RUN_DOMAINS } from "./types.js";

// What one browser tab keeps: a few MB at most.
const KEPT_RUNS = 200;
const KEPT_ALERTS = 100;
const ALERT_STATES = new Set(["firing", "acknowledged", "snoozed", "dismissed", "resolved"]);
const KEPT_LINES = 200;

/** The events that say how a camera is, and those that say how an Octane is. */
const CAMERA_PARTS = new Set(["state", "statistics", "controls", "recording"]);
const OCTANE_PARTS = new Set(["state", "statistics", "controls", "render_failure"]);

/** The types of events that say how something is. */
export const STATES = [...new Set([...CAMERA_PARTS, ...OCTANE_PARTS, ...ALERT_STATES])];

export const TERMINAL = OUTCOMES;

/** The text that an event adds to a run's output, or null. */
function outputOf({ event_type: type, data }) {
  const known = OUTPUT.get(type);
  if (!known) return null;
  const name = known.fields.find((field) => (data[field] ?? null) !== null);
  const text = Array.isArray(data.lines) ? data.lines.join("\n") : name && data[name];
  if (text === undefined || text === null) return null;
  return { text: String(text), joined: known.joined, stream: String(data.stream ?? type) };
}

/** Whether controls are no older than those that are known: an answer may arrive later than the event of the next change. */
const newer = (controls, known) => !(controls.revision < known?.revision);

export class Store {
  runs = new Map();
  alerts = new Map();
  cameras = new Map();
  octanes = new Map();
  /** What `/me` says of this page's token; null until it is known. */
  rights = null;
  /** What is known of each camera, in parts: `{ state, statistics, controls, recording }`. */
  #parts = new Map();
  #state = { phase: "idle", reason: "", code: "" };
  #faults = new Map();
  #unknown = null;
  #watchers = new Map();
  #changed = new Set();
  #drawing = 0;

  /** Calls `view` before the next picture whenever `topic` changed: runs, alerts, cameras, octanes, or events, where only their situation changes. Returns what ends it. */
  watch(topic, view) {
    if (!this.#watchers.has(topic)) this.#watchers.set(topic, []);
    this.#watchers.get(topic).push(view);
    this.touch(topic);
    return () => this.#watchers.set(topic, this.#watchers.get(topic).filter((other) => other !== view));
  }

  touch(topic) {
    this.#changed.add(topic);
    this.#drawing ||= requestAnimationFrame(() => this.#tell());
  }

  #tell() {
    this.#drawing = 0;
    const changed = [...this.#changed];
    this.#changed.clear();
    for (const topic of changed) {
      for (const view of this.#watchers.get(topic) ?? []) view();
    }
  }

  /** How the page is connected: the client's state. */
  connect(state) {
    const before = this.#state;
    this.#state = state;
    if (before.phase !== state.phase || before.reason !== state.reason || before.code !== state.code) this.#touchAll();
  }

  /** What the page's token allows, or why that could not be asked. */
  allow(rights, fault = null) {
    this.rights = rights ?? this.rights;
    this.#unknown = fault;
    this.#touchAll();
  }

  /** Why a list could not be read (an error, with the `status` of an answer), or null where it was. */
  fault(topic, fault) {
    if (fault) this.#faults.set(topic, fault);
    else this.#faults.delete(topic);
    this.touch(topic);
  }

  /** Why not all of a topic is shown; null where it is. */
  situation(topic) {
    const fault = this.#faults.get(topic) ?? (this.rights ? null : this.#unknown);
    return explain(topic, { state: this.#state, rights: this.rights, fault });
  }

  #touchAll() {
    for (const topic of ["runs", "alerts", "cameras", "octanes", "events"]) this.touch(topic);
  }

  /** One event from the stream. */
  take(event) {
    const data = event.data ?? {};
    const [domain, token = ""] = String(event.subject).split(".");
    if (domain === "camera") {
      if (CAMERA_PARTS.has(event.event_type)) this.#camera(unescapeToken(token), { [event.event_type]: data });
    } else if (domain === "octane") {
      this.#octane(unescapeToken(token), event.event_type, data, moment(event.timestamp));
    } else if (domain === "alert") {
      this.#alert(data, event.event_type, unescapeToken(token), moment(event.timestamp));
    } else if (RUN_DOMAINS.has(domain)) {
      if (event.event_type === "state") this.#run(`${domain}.${token}`, { domain, run: unescapeToken(token), ...data }, event.timestamp);
      const output = outputOf(event);
      if (output) this.#line(`${domain}.${token}`, { ...output, id: event.id, at: event.timestamp });
    }
  }

  /** What the server holds, for who joins late. An event that is newer than it stands. */
  load(topic, list) {
    for (const item of Array.isArray(list) ? list : []) {
      if (topic === "runs") this.#run(`${item.domain}.${escapeToken(String(item.run))}`, item, item.updated);
      else if (topic === "alerts") this.#alert({ ...item, alert: item.alert ?? item.id }, item.state ?? item.status, item.rule, moment(item.timestamp ?? item.time));
      else if (topic === "octanes") this.#listedOctane(item);
      else {
        const { id, statistics = {}, controls, recording, ...state } = item;
        this.#camera(String(id), { state, statistics, ...(controls && { controls }), ...(recording && { recording }) }, true);
      }
    }
    this.touch(topic);
  }

  /** Output lines of the past, put before those already here; `unread` says why they could not be had. */
  recall(key, events, unread = "") {
    const run = this.runs.get(key);
    if (!run) return;
    const known = new Set(run.lines.map((line) => line.id));
    const before = [];
    for (const event of events) {
      const output = known.has(event.id) ? null : outputOf({ ...event, data: event.data ?? {} });
      if (output) before.push({ ...output, id: event.id, at: event.timestamp });
    }
    run.lines = [...before, ...run.lines].slice(-KEPT_LINES);
    run.recalled = !unread;
    run.unread = unread;
    this.touch("runs");
  }

  /** `parts`: state, statistics, controls, recording, or some of them. Each is whole: what a newer one leaves out is so no more. */
  #camera(id, parts, fromList = false) {
    const known = this.#parts.get(id);
    if (parts.controls && !newer(parts.controls, known?.controls)) parts = { ...parts, controls: known.controls };
    // A list is a snapshot taken before the events that this page has already seen.
    const whole = fromList ? { ...parts, ...known } : { ...known, ...parts };
    this.#parts.set(id, whole);
    const { state, statistics = {}, controls = null, recording = null } = whole;
    this.cameras.set(id, { recording, ...statistics, ...state, statistics, controls, id });
    this.touch("cameras");
  }

  /** What a command's answer says of a camera's controls, before the event of it is here. */
  controlCamera(id, controls) {
    this.#camera(id, { controls });
  }

  /** The same of an Octane's. */
  control(id, controls) {
    this.#octane(id, "controls", controls);
  }

  // Each part is a whole: what a newer state does not say any more is over.
  #octane(id, type, data, at = 0) {
    if (!OCTANE_PARTS.has(type)) return;
    if (type === "controls" && !newer(data, this.octanes.get(id)?.controls)) return;
    const device = { ...this.octanes.get(id), id };
    if (type === "render_failure") device.failure = { ...data, at };
    else device[type] = data;
    // A render that goes on has got over its failure; figures may have been on their way when it failed.
    if (type === "statistics" && data.state === "rendering" && at > (device.failure?.at ?? Infinity) + 1_000) device.failure = null;
    this.octanes.set(id, device);
    this.touch("octanes");
  }

  #listedOctane({ id, statistics, controls, failure, updated, ...state }) {
    const over = ["rendering", "waiting", "finished"].includes(statistics?.state);
    const failed = failure && !over && { failure: { ...failure, at: moment(failure.at) } };
    const listed = { state, ...(statistics && { statistics }), ...(controls && { controls }), ...failed };
    this.octanes.set(String(id), { ...listed, ...this.octanes.get(String(id)), id: String(id) });
  }

  #alert(data, type, rule, time) {
    if (!ALERT_STATES.has(type)) return;
    // One of a rule and a dedup key; who has an audience in common is told of it once for each of them.
    const key = `${data.rule ?? rule} ${data.key ?? data.entity ?? ""}`;
    const known = this.alerts.get(key);
    if (known && known.time > time) return;
    const resolved = type === "resolved";
    this.alerts.delete(key);
    this.alerts.set(key, { severity: "info", ...known, ...data, rule: data.rule ?? rule, key, state: type, resolved, time });
    if (this.alerts.size > KEPT_ALERTS) this.alerts.delete(this.alerts.keys().next().value);
    this.touch("alerts");
  }

  #run(key, data, timestamp) {
    const updated = moment(data.updated ?? timestamp);
    const known = this.runs.get(key);
    if (known?.updated > updated) return;
    this.runs.set(key, { lines: [], recalled: false, ...known, ...data, key, updated, started: moment(data.started ?? known?.started) });
    if (this.runs.size > KEPT_RUNS) this.#dropRun();
    this.touch("runs");
  }

  #dropRun() {
    let oldest = null;
    for (const run of this.runs.values()) {
      if (TERMINAL.has(run.status) && (!oldest || run.updated < oldest.updated)) oldest = run;
    }
    this.runs.delete((oldest ?? this.runs.values().next().value).key);
  }

  #line(key, line) {
    const run = this.runs.get(key) ?? { key, domain: key.split(".")[0], run: unescapeToken(key.slice(key.indexOf(".") + 1)), status: "running", progress: null, lines: [], updated: 0 };
    this.runs.set(key, run);
    if (this.runs.size > KEPT_RUNS) this.#dropRun();
    const last = run.lines.at(-1);
    if (line.joined && last?.joined) last.text += line.text;
    else run.lines.push(line);
    if (run.lines.length > KEPT_LINES) run.lines.splice(0, run.lines.length - KEPT_LINES);
    this.touch("runs");
  }
}
