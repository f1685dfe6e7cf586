/** Says in words how an Octane and its picture are, and what to do about it. No DOM. */

import { ago, duration } from "../../format.js";

const RENDERS = {
  rendering: ["Rendering", "info"],
  finished: ["Finished", "ok"],
  paused: ["Paused", "quiet"],
  stopped: ["Stopped", "quiet"],
  waiting: ["Waiting", "warn"],
};

const SWITCH = "File › Preferences › GRPC API › Enable GRPC Server";

const since = (time, now) => {
  const seconds = (now - Date.parse(time)) / 1000;
  return Number.isFinite(seconds) && seconds >= 1 ? `for ${duration(seconds)}` : "";
};

const when = (time, now) => ago(time, now).replace(/^now$/, "just now");

// A reason may begin with the name of a call, which stays as it is.
const capital = (text) => text.replace(/^[a-z]+(?=[ ,:])/, (word) => word.charAt(0).toUpperCase() + word.slice(1));
const sentence = (...parts) => parts.filter(Boolean).map((part) => (/[.!?]$/.test(part) ? part : `${part}.`)).map(capital).join(" ");

/** What a device says of itself: its name, and what is wrong with it. */
const faulty = ({ name, message, error }) => `${name || "device"}: ${message || error || "no reason given"}`;

/**
 * Gives `{ word, tone, title, text, stale, note }`: a badge's word and colour; a title and a text where a person must know more,
 * else empty; whether the picture is an old one; and whether the text is a note beside a picture that is as it should be.
 * `device` is the store's, `stream` has phase, refusal, and when (ms) and by whom the picture shown was made, `away` why there
 * is no connection to the server.
 */
export function condition(device, stream, now, away = "") {
  const { state = {}, statistics = {}, failure = null } = device ?? {};
  const age = stream.pictured ? duration((now - stream.pictured) / 1000) : "";
  const kept = age && `The picture shown is ${age} old${stream.by ? `, rendered by ${stream.by}` : ""}`;
  const say = (word, tone, title = "", text = "", stale = true) => ({ word, tone, title, text, stale });
  if (away) return say("Not live", "warn", "No connection to Callboard", sentence(away, "It is tried again by itself", kept));
  const lasts = since(state.since, now);
  switch (state.status) {
    case "connected": break;
    case "refused":
      return say("Refused", "bad", "Octane refuses the connection", sentence(state.reason || "It gave no reason", kept));
    case "busy":
      return say("Busy", "warn", `Octane has not answered${lasts && ` ${lasts}`}`,
        sentence("It is compiling, or shows a dialog that waits for an answer", kept));
    case "connecting": return say("Connecting", "warn", `Connecting to Octane at ${state.address ?? "its address"}`, sentence(kept));
    default:
      return say("Absent", "bad", `No Octane answers at ${state.address || "its address"}${lasts && `, ${lasts}`}`,
        sentence("Start Octane", `In Octane, switch on ${SWITCH}, with that address`, "Callboard connects by itself", kept));
  }
  if (stream.refusal) return say("Not shown", "warn", "No picture is shown", sentence(stream.refusal.message));
  if (stream.phase !== "open") return say("Connecting", "warn", "Connecting to the pictures", sentence(kept));
  if (state.picture === "unreadable") {
    return say("Unreadable", "bad", "Octane's picture cannot be read", sentence(state.picture_reason, kept));
  }
  if (failure) {
    const devices = (failure.devices ?? []).map(faulty);
    const reason = devices.length ? devices.join("; ") : failure.reason;
    return say("Failed", "bad", `The render failed ${when(failure.at, now)}`.trim(), sentence(reason, "Restart begins it again"));
  }
  const contested = state.callback_slot === "contested" && "Another program takes Octane's callbacks";
  if (state.picture === "stale") {
    return say("Stale", "warn", age ? `Last picture ${age} old` : "No new picture", sentence(state.picture_reason, contested));
  }
  if (stream.kept && statistics.state === "rendering") return say("Connecting", "warn", "Waiting for a new picture", sentence(kept));
  const [word, tone] = RENDERS[statistics.state] ?? ["Connected", "ok"];
  // Pictures come all the same: a note, and no cover over them.
  if (contested) return { ...say(word, tone, contested, "Pictures may be late; close the other viewer.", false), note: true };
  return say(word, tone, "", "", false);
}
