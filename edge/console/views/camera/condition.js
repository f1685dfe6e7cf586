/** Says in words how a camera and its picture are, since when, and what to do about it. No DOM. */

import { duration } from "../../format.js";

// How long (ms) no new picture may come until the one shown counts as stale; of a slow camera, so many of its intervals.
const STALE = 5_000;
const INTERVALS = 3;

// A text that begins with a file's name or a subject keeps its first letter.
const capital = (text) => text.replace(/^[a-z](?=[a-z'-]*[,:;.]?(\s|$))/, (letter) => letter.toUpperCase());
const sentence = (...parts) => parts.filter(Boolean).map((part) => capital(/[.!?]$/.test(part) ? part : `${part}.`)).join(" ");

/** A moment as events have it, RFC 3339 or ms since the epoch, in ms; null without one. */
export function momentOf(value) {
  const at = typeof value === "string" ? Date.parse(value) : value;
  return Number.isFinite(at) && at > 0 ? at : null;
}

const lasting = (at, now) => (at !== null && now - at >= 1_000 ? `for ${duration((now - at) / 1_000)}` : "");

/**
 * Gives `{ word, tone, title, text, stale }`: a badge's word and colour; a title and a text where a person must know more, else
 * empty; whether the picture shown is an old one.
 *
 * `device` is the store's; `player` has state, header and freshAt (ms of this computer, of the last new picture); `now` is the server's
 * time, `away` says why there is no connection to the server.
 */
export function condition(device, player, now, away = "") {
  const { state, header } = player;
  const age = header && Number.isFinite(header.time) ? duration(Math.max(0, now - header.time) / 1_000) : "";
  const kept = age && `The picture shown is ${age} old`;
  const say = (word, tone, title = "", text = "", stale = true) => ({ word, tone, title, text, stale });
  if (away) return say("Reconnecting", "warn", "No connection to Callboard", sentence(away, "It is tried again by itself", kept));
  const { status, reason, since } = device;
  const lasts = lasting(momentOf(since), now);
  if (status === "gone") {
    return say("Gone", "bad", `The camera is gone${lasts && `, ${lasts}`}`, sentence(reason || "Its actor has ended or cannot be reached", "The picture comes back with it", kept));
  }
  if (status === "failed") return say("Failed", "bad", `The camera failed${lasts && `, ${lasts}`}`, sentence(reason || "It gave no reason", "It is opened again by itself", kept));
  if (status === "idle" && reason) return say("Idle", "quiet", "The camera is idle", sentence(reason, kept));
  if (state.phase === "refused") return say("Not shown", "warn", "No picture is shown", sentence(state.reason));
  if (state.phase === "paused") return say("Paused", "quiet", "", "", true);
  const idle = () => say("Idle", "quiet", "The camera is idle", sentence("It opens its source as soon as somebody watches", kept));
  // It is not idle for long once this page watches.
  if (status === "idle" && !header && state.phase === "connecting" && Date.now() - state.since > STALE) return idle();
  if (state.phase !== "playing") {
    if (!header && !state.reason) return say("Connecting", "warn");
    const title = state.phase === "offline" ? "This computer is offline" : `Reconnecting to the picture${lasting(state.since, Date.now()) && `, ${lasting(state.since, Date.now())}`}`;
    return say("Reconnecting", "warn", title, sentence(state.reason, kept));
  }
  if (!header) return say("Connecting", "warn");
  const silent = Date.now() - player.freshAt;
  const allowed = Math.max(STALE, header.fps > 0 ? (INTERVALS * 1_000) / header.fps : 0);
  if (silent > allowed && status === "idle") return idle();
  if (silent > allowed) return say("Stale", "warn", `No new picture for ${duration(silent / 1_000)}`, sentence("The camera answers, and its source gives no new picture", kept));
  return say("Live", "ok", "", "", false);
}
