/** The camera test: tries every way to get a camera's pictures, one after the other, and says which work and why not. */

import { connect } from "../client/index.js";
import { h, say } from "../dom.js";
import { retrying } from "../parts/again.js";
import { bytes, milliseconds, number } from "../format.js";
import { measure } from "./measure.js";
import { PROBES } from "./probes.js";
import { report, summary } from "./report.js";

const LINES = 200;
const $ = (id) => document.getElementById(id);
const parameters = new URLSearchParams(location.search);

// As the console: `#token=…` hands the page a token, and goes out of the address at once.
const handed = /^#token=(.+)$/.exec(location.hash)?.[1];
if (handed) {
  sessionStorage.setItem("callboard.token", decodeURIComponent(handed));
  history.replaceState(null, "", location.pathname + location.search);
}

const client = connect(location.origin, { token: sessionStorage.getItem("callboard.token") });
const found = new Map();
const log = [];
let running = null;
let skew = null;

function note(text, tone = "") {
  const line = `${new Date().toLocaleTimeString("en-GB")} ${text}`;
  log.push(line);
  if (log.length > LINES) log.shift();
  const list = $("log");
  list.append(h("li", { dataset: { tone } }, line));
  while (list.childElementCount > LINES) list.firstElementChild.remove();
  list.scrollTop = list.scrollHeight;
}

const facts = Object.fromEntries(["fps", "frames", "bytes", "bandwidth", "latency", "p99", "size"].map((name) => [name, h("dd", {}, "–")]));
const titles = { fps: "FPS", frames: "Frames", bytes: "Bytes", bandwidth: "Bandwidth", latency: "Latency", p99: "Latency p99", size: "Size" };
$("figures").append(...Object.entries(facts).map(([name, place]) => h("div", {}, h("dt", {}, titles[name]), place)));

function showFigures(figures) {
  const { p50, p99 } = figures.latency;
  say(facts.fps, number(figures.fps, 1));
  say(facts.frames, number(figures.frames));
  say(facts.bytes, bytes(figures.bytes));
  say(facts.bandwidth, `${bytes(figures.bytesPerSecond)}/s`);
  say(facts.latency, milliseconds(p50 ?? NaN));
  say(facts.p99, milliseconds(p99 ?? NaN));
  say(facts.size, figures.size ?? "–");
}

const rows = PROBES.map((probe) => {
  const verdict = h("span.verdict", {}, "not tried");
  const said = h("span.said");
  const element = h("li", { dataset: { name: probe.name, state: "idle" } }, verdict, h("strong", {}, probe.label), said);
  $("results").append(element);
  $("transport").append(h("option", { value: probe.name }, probe.label));
  return { probe, element, verdict, said };
});

function mark({ element, verdict, said }, state, text) {
  element.dataset.state = state;
  say(verdict, state === "idle" ? "not tried" : state);
  say(said, text);
}

/** What a probe is given. */
function linkOf(signal) {
  const camera = $("camera").value;
  const stage = $("stage");
  let latest = null;
  // Figures are shown twice a second: between, they only flicker.
  const clock = setInterval(() => latest && showFigures(latest), 500);
  signal.addEventListener("abort", () => clearInterval(clock), { once: true });
  return {
    base: client.base, camera, signal,
    url: `${client.base}/cameras/${encodeURIComponent(camera)}`,
    now: () => Date.now(),
    ticket: (wish) => client.ticket(wish),
    log: (text) => note(text),
    told: (figures) => { latest = figures; },
    stage: (element) => {
      for (const before of stage.querySelectorAll("canvas, img, video")) before.remove();
      stage.prepend(element);
      return element;
    },
  };
}

async function run(rowsToTry, forever) {
  if (running) return;
  const life = running = new AbortController();
  for (const button of ["connect", "all", "camera", "transport"]) $(button).disabled = true;
  $("disconnect").disabled = false;
  if (!forever) for (const row of rowsToTry) found.delete(row.probe.name);
  for (const row of rowsToTry) {
    if (life.signal.aborted) break;
    const { probe } = row;
    const turn = new AbortController();
    const stop = () => turn.abort();
    life.signal.addEventListener("abort", stop, { once: true });
    say($("status"), `${forever ? "Connected by" : "Testing"} ${probe.label}`);
    mark(row, "running", "");
    note(`${probe.label}: ${forever ? "connecting" : "testing"}`);
    const result = await measure(probe, linkOf(turn.signal), forever);
    showFigures(result.figures);
    stop();
    life.signal.removeEventListener("abort", stop);
    found.set(probe.name, result);
    mark(row, result.works ? "works" : "fails", summary(result));
    note(`${probe.label}: ${result.works ? "works" : "fails"}, ${summary(result)}`, result.works ? "ok" : "bad");
  }
  running = null;
  for (const button of ["connect", "all", "camera", "transport"]) $(button).disabled = false;
  $("disconnect").disabled = true;
  $("copy").disabled = false;
  say($("status"), "Disconnected");
  document.body.dataset.done = forever ? "one" : "all";
}

function write() {
  const results = rows.map(({ probe }) => ({ probe, result: found.get(probe.name) ?? null }));
  $("report").value = report({ camera: $("camera").value, results, log, server: "", skew });
  return $("report").value;
}

async function copy() {
  const text = write();
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without a secure context there is no clipboard but the old one.
    $("report").select();
    document.execCommand("copy");
  }
  say($("copy"), "Copied");
  setTimeout(() => say($("copy"), "Copy report"), 2_000);
}

const again = retrying(begin);

async function begin() {
  try {
    const before = Date.now();
    const response = await fetch(`${client.base}/livez`, { cache: "no-store" });
    const date = Date.parse(response.headers.get("Date") ?? "");
    // The header has whole seconds.
    skew = Number.isFinite(date) ? date + 500 - (before + Date.now()) / 2 : null;
    const { cameras } = await client.get("/cameras");
    again.done();
    const names = cameras.map(({ id }) => id);
    $("camera").replaceChildren(...names.map((id) => h("option", { value: id }, id)));
    const asked = parameters.get("camera") ?? "main";
    if (names.includes(asked)) $("camera").value = asked;
    $("sign-in").hidden = true;
    note(names.length ? `cameras: ${names.join(", ")}` : "there is no camera", names.length ? "" : "bad");
    for (const button of ["connect", "all"]) $(button).disabled = !names.length;
    if (!isSecureContext) note("this page is not a secure context: WebCodecs is not available", "bad");
    if (names.length && parameters.has("run")) run(rows, false);
  } catch (fault) {
    note(`cameras cannot be listed: ${fault.message}`, "bad");
    again.after(fault);
    $("sign-in").hidden = fault.status !== 401;
    for (const button of ["connect", "all"]) $(button).disabled = true;
  }
}

$("connect").addEventListener("click", () => run(rows.filter(({ probe }) => probe.name === $("transport").value), true));
$("disconnect").addEventListener("click", () => running?.abort());
$("all").addEventListener("click", () => run(rows, false));
$("copy").addEventListener("click", copy);
$("clear").addEventListener("click", () => { log.length = 0; $("log").replaceChildren(); });
$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("callboard.token", $("token").value);
  client.token = $("token").value;
  $("token").value = "";
  begin();
});
begin();
