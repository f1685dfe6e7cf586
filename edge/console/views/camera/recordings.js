/** Lists a camera's recordings below its picture, plays them in its place, lets them be downloaded and deleted. */

import { h, icon, say, show } from "../../dom.js";
import { bytes, clock, duration } from "../../format.js";
import { ask, query } from "../../../client/http.js";
import { retrying } from "../../parts/again.js";
import { faultLine } from "../octane/buttons.js";
import { momentOf } from "./condition.js";
import { recordingAt, timeline } from "./timeline.js";

// How often (ms) the list is read again: events say sooner that something changed.
const REREAD = 30_000;
const TICK = 1_000;
// One that has just begun is over before anything is seen of it, and is passed over by who steps back (ms).
const BEGUN = 3_000;

/** A recording as the server lists it, for the timeline: `{ id, label, begin, end, open, bytes, continuous, overwritable }` with times in ms. */
export function entryOf(item, now) {
  const begin = momentOf(item.began) ?? now;
  const open = item.status === "recording";
  // One that was interrupted has no end of its own.
  const end = open ? now : momentOf(item.ended) ?? begin + (item.duration ?? 0) * 1_000;
  return { id: String(item.id), label: item.label ?? "", status: item.status, begin, end: Math.max(begin, end), open, bytes: item.bytes ?? Number.NaN, continuous: Boolean(item.continuous), overwritable: Boolean(item.overwritable) };
}

/** What a recording's kind means to who looks for it: whether it stays. */
function staying({ continuous, overwritable }) {
  if (overwritable) return "continuous, may be overwritten";
  return continuous ? "continuous" : "";
}

/** How many recordings there are, and how many of them do not stay. */
function counted(list) {
  if (!list.length) return "No recording yet";
  const passing = list.filter(({ overwritable }) => overwritable).length;
  return `${list.length} ${list.length === 1 ? "recording" : "recordings"}${passing ? `, ${passing === list.length ? "" : `${passing} `}may be overwritten` : ""}`;
}

/**
 * `view` has client, records() (whether the camera can be recorded), deletes() (whether this page may), mention(text) and changed(). Gives the element, the video, `open(id)`,
 * `tell(device)`, `playing`, and `live()`, `toggle()` for keys.
 */
export function recordings(view) {
  const { client } = view;
  let camera = null;
  let list = [];
  let played = null;
  let known = false;
  let told = "";
  let timer = null;
  const rereading = retrying(() => read());
  const fault = faultLine();
  // Why a camera that records always does not.
  const halted = h("p.halted", { role: "alert", hidden: true });
  let reason = "";
  const video = h("video.playback", { hidden: true, playsinline: true, tabindex: "-1", "aria-label": "Recording" });
  video.muted = true;
  const line = timeline({ seek: (moment, toward = 0) => seek(moment, toward), live: () => live(), step: (to) => step(to), toggle: () => toggle() });
  const button = (label, picture, onclick) => h("button.tool", { type: "button", title: label, "aria-label": label, onclick }, icon(picture));
  const pause = button("Pause", "pause", () => toggle());
  const back = h("button.quiet", { type: "button", title: "Back to the live picture", onclick: () => live() }, "Live");
  const before = button("Previous recording", "previous", () => step(-1));
  const after = button("Next recording", "next", () => step(1));
  const download = button("Download the recording", "save", () => attempt("Download", fetchFile));
  const remove = button("Delete the recording", "bin", () => confirmation.showModal());
  const text = h("p.playing", { role: "status" });
  const question = h("p");
  const confirmation = h("dialog.help.confirm", { "aria-label": "Delete the recording" },
    h("h2", {}, "Delete the recording?"), question,
    h("div.row-of-buttons", {},
      h("button.quiet.danger", { type: "button", onclick: () => { confirmation.close(); attempt("Delete", erase); } }, "Delete"),
      h("button.quiet", { type: "button", autofocus: true, onclick: () => confirmation.close() }, "Keep")));
  confirmation.addEventListener("click", (event) => event.target === confirmation && confirmation.close());
  const element = h("section.recordings", { hidden: true, "aria-label": "Recordings" },
    h("div.recordings-bar", {}, text, line.choice, before, pause, after, download, remove, back), halted, line.element, fault.element, confirmation);

  const now = () => client.clock.now();
  const momentPlayed = () => (played ? Math.min(played.end, played.begin + video.currentTime * 1_000) : null);
  const attempt = (label, act) => act().then(fault.clear, (problem) => fault.tell(label, problem));
  const address = async (id) => {
    const path = `/recordings/${encodeURIComponent(id)}.mp4`;
    return `${client.base}${path}${query({ ticket: await client.ticket({ path }) })}`;
  };

  async function read() {
    if (!camera) return;
    const asked = camera;
    try {
      const answer = await client.get(`/recordings${query({ camera, kind: "video" })}`);
      if (asked !== camera) return;
      list = (answer.recordings ?? []).map((item) => entryOf(item, now()));
      known = true;
      rereading.done();
    } catch (problem) {
      if (asked === camera) rereading.after(problem);
      // A server without recordings has no timeline; one that is away keeps what is known.
      if (problem.status === 404 || problem.status === 403) known = false;
    }
    tick();
  }

  async function play(recording, moment) {
    if (played?.id !== recording.id) {
      const source = await address(recording.id);
      played = recording;
      video.src = source;
    }
    show(video, true);
    const place = Math.max(0, (moment - recording.begin) / 1_000);
    if (video.readyState > 0) video.currentTime = place;
    else video.addEventListener("loadedmetadata", () => { video.currentTime = Math.min(place, video.duration || place); }, { once: true });
    await video.play().catch((problem) => { if (problem.name !== "AbortError") throw problem; });
    view.changed();
    tick();
  }

  // Toward the past, a gap leads to the end of the recording before it.
  function seek(moment, toward = 0) {
    const earlier = [...list].sort((a, b) => b.end - a.end).find(({ end }) => end <= moment);
    let recording = recordingAt(list, moment);
    let to = recording ? Math.max(recording.begin, moment) : moment;
    if (toward < 0 && earlier && (!recording || recording.begin > moment)) {
      recording = earlier;
      to = Math.max(earlier.begin, earlier.end - 10_000);
    }
    if (recording) attempt("Play", () => play(recording, to));
    else live();
  }

  function step(to) {
    const sorted = list.filter(({ open, begin, id }) => !open || id === played?.id || now() - begin > BEGUN).sort((a, b) => a.begin - b.begin);
    const at = played ? sorted.findIndex(({ id }) => id === played.id) : sorted.length;
    const next = sorted[at + to];
    if (next) attempt("Play", () => play(next, next.begin));
    else if (to > 0) live();
  }

  function toggle() {
    if (!played) return;
    if (video.paused) video.play().catch(() => {});
    else video.pause();
  }

  function live() {
    if (!played) return;
    played = null;
    show(video, false);
    video.removeAttribute("src");
    video.load();
    view.changed();
    tick();
  }

  async function fetchFile() {
    if (!played) return;
    const stamp = new Date(played.begin).toISOString().replaceAll(":", "-");
    h("a", { href: await address(played.id), download: `camera-${camera}-${stamp}.mp4` }).click();
  }

  async function erase() {
    const { id, begin } = played;
    await ask(client.base, "DELETE", `/recordings/${encodeURIComponent(id)}`, { token: await client.board.proof() });
    live();
    list = list.filter((each) => each.id !== id);
    view.mention(`Deleted the recording of ${clock(begin).slice(0, 8)}`);
    tick();
    await read();
  }

  function tick() {
    const moment = momentPlayed();
    const listed = known && (list.length > 0 || view.records());
    show(element, listed || Boolean(reason));
    say(halted, reason && `${view.records() ? "Nothing is recorded" : "The camera cannot record"}: ${reason}. It is tried again by itself.`);
    show(halted, Boolean(reason));
    for (const part of [line.element, line.choice, text]) show(part, listed);
    if (!listed) return;
    const time = now();
    line.tell(list.map((each) => ({ ...each, end: each.open ? time : each.end, chosen: each.id === played?.id })), time, moment);
    for (const part of [pause, download, back]) show(part, Boolean(played));
    show(remove, Boolean(played) && view.deletes());
    show(before, list.length > 0);
    show(after, Boolean(played));
    const label = video.paused ? "Play" : "Pause";
    if (pause.title !== label) {
      pause.title = label;
      pause.setAttribute("aria-label", label);
      pause.replaceChildren(icon(video.paused ? "play" : "pause"));
    }
    if (played) {
      say(text, `${clock(moment).slice(0, 8)}, ${duration(video.currentTime)} of ${duration((played.end - played.begin) / 1_000)}${[played.label, staying(played)].filter(Boolean).map((each) => `, ${each}`).join("")}`);
      say(question, `${new Date(played.begin).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" })}, ${duration((played.end - played.begin) / 1_000)}${Number.isFinite(played.bytes) ? `, ${bytes(played.bytes)}` : ""}. It cannot be had back.`);
    } else {
      say(text, counted(list));
    }
    text.setAttribute("aria-live", played ? "off" : "polite");
  }

  for (const event of ["pause", "play", "timeupdate", "seeked"]) video.addEventListener(event, tick);
  video.addEventListener("ended", () => step(1));
  video.addEventListener("error", () => {
    if (!played || !video.getAttribute("src")) return;
    const problem = new Error(video.error?.message || "the recording cannot be played");
    live();
    fault.tell("Play", problem);
  });
  setInterval(() => !element.hidden && !document.hidden && tick(), TICK);

  return {
    element,
    video,
    read,
    live,
    toggle,
    get playing() { return played !== null; },
    /** Shows the recordings of another camera. */
    open(id) {
      live();
      camera = id;
      list = [];
      known = false;
      reason = "";
      clearInterval(timer);
      timer = setInterval(() => !document.hidden && read(), REREAD);
    },
    /** Reads the list anew where the camera says that its recording changed. */
    tell({ recording, recording_fault: cause }) {
      if (reason !== (cause ?? "")) {
        reason = cause ?? "";
        tick();
      }
      const next = JSON.stringify([camera, view.records(), recording?.status, recording?.id]);
      if (told !== next) read();
      told = next;
    },
  };
}
