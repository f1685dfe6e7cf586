/** Draws recordings on a line of time, and turns clicks and keys on it into moments. */

import { h, say, show } from "../../dom.js";
import { clock, duration } from "../../format.js";

// The spans (ms) that the line can show; the end is the present.
export const SPANS = [[5 * 60_000, "5 min"], [15 * 60_000, "15 min"], [3_600_000, "1 h"], [6 * 3_600_000, "6 h"], [24 * 3_600_000, "24 h"], [7 * 24 * 3_600_000, "7 days"]];
const STEPS = { ArrowLeft: -10_000, ArrowRight: 10_000, ArrowDown: -10_000, ArrowUp: 10_000 };
// With Shift.
const LARGER = 6;
// So that a recording of a second can still be seen and hit (percent).
const LEAST = 1;

const day = (at) => new Date(at).toLocaleDateString("en", { weekday: "short", day: "numeric", month: "short" });
const timeOfDay = (at) => clock(at).slice(0, 5);

/** Marks of a line from `begin` to `end`: at most seven, at whole minutes, hours or days of this computer's zone. */
export function marks(begin, end) {
  const minute = 60_000;
  const step = [minute, 5 * minute, 10 * minute, 15 * minute, 30 * minute, 60 * minute, 180 * minute, 360 * minute, 720 * minute, 1440 * minute].find((size) => (end - begin) / size <= 7) ?? 1440 * minute;
  const zone = new Date(end).getTimezoneOffset() * minute;
  const found = [];
  for (let at = Math.ceil((begin - zone) / step) * step + zone; at < end; at += step) found.push({ at, text: step >= 1440 * minute ? day(at) : timeOfDay(at) });
  return found;
}

/** `{ id, begin, end }` of the recording at a moment, or the next one after it; null behind the last. */
export function recordingAt(recordings, moment) {
  const sorted = [...recordings].sort((a, b) => a.begin - b.begin);
  return sorted.find(({ end }) => end > moment) ?? null;
}

/** `seek(moment in ms)`, `live()`, `step(to: -1 or 1)` and `toggle()` are called for what hands and keys ask. */
export function timeline({ seek, live, step, toggle }) {
  let span = SPANS[1][0];
  let recordings = [];
  let now = 0;
  let at = null;
  const segments = h("div.segments");
  const head = h("div.head", { hidden: true });
  const scale = h("div.scale", { "aria-hidden": "true" });
  const hover = h("span.hover", { hidden: true, "aria-hidden": "true" });
  const track = h("div.track", { role: "slider", tabindex: 0, "aria-label": "Recordings over time", "aria-orientation": "horizontal" }, segments, head, hover);
  const choice = h("select", { "aria-label": "Span of the timeline", title: "Span of the timeline", onchange: () => { span = Number(choice.value); draw(); } },
    SPANS.map(([value, label]) => h("option", { value, selected: value === span }, label)));
  const element = h("div.timeline", {}, track, scale);

  const percent = (moment) => Math.min(100, Math.max(0, ((moment - (now - span)) / span) * 100));
  const momentAt = (event) => {
    const { left, width } = track.getBoundingClientRect();
    return now - span + Math.min(1, Math.max(0, (event.clientX - left) / width)) * span;
  };
  const told = () => {
    const recording = at !== null && recordings.find(({ begin, end }) => at >= begin && at <= end);
    track.setAttribute("aria-valuemin", Math.round((now - span) / 1_000));
    track.setAttribute("aria-valuemax", Math.round(now / 1_000));
    track.setAttribute("aria-valuenow", Math.round((at ?? now) / 1_000));
    track.setAttribute("aria-valuetext", at === null ? `Live; ${recordings.length} recordings` : `${day(at)}, ${clock(at).slice(0, 8)}${recording ? `, in a recording of ${duration((recording.end - recording.begin) / 1_000)}${recording.overwritable ? ", which may be overwritten" : ""}` : ""}`);
  };
  const draw = () => {
    const begin = now - span;
    const seen = recordings.filter((each) => each.end >= begin && each.begin <= now);
    while (segments.children.length > seen.length) segments.lastChild.remove();
    while (segments.children.length < seen.length) segments.append(h("div.segment"));
    for (const [index, each] of seen.entries()) {
      const part = segments.children[index];
      const width = Math.max(LEAST, percent(each.end) - percent(each.begin));
      part.style.left = `${Math.min(percent(each.begin), 100 - width)}%`;
      part.style.width = `${width}%`;
      part.classList.toggle("open", Boolean(each.open));
      part.classList.toggle("overwritable", Boolean(each.overwritable));
      part.classList.toggle("chosen", Boolean(each.chosen));
    }
    // A label at an end would be cut off.
    const ticks = marks(begin, now).filter(({ at: tick }) => percent(tick) > 4 && percent(tick) < 96);
    scale.replaceChildren(...ticks.map(({ at: tick, text }) => {
      const label = h("span", {}, text);
      label.style.left = `${percent(tick)}%`;
      return label;
    }));
    show(head, at !== null && at >= begin);
    if (at !== null) head.style.left = `${percent(at)}%`;
    told();
  };

  track.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    track.focus({ preventScroll: true });
    seek(momentAt(event));
  });
  track.addEventListener("pointermove", (event) => {
    const moment = momentAt(event);
    say(hover, span > 24 * 3_600_000 ? `${day(moment)} ${timeOfDay(moment)}` : clock(moment).slice(0, 8));
    hover.style.left = `${Math.min(92, Math.max(8, percent(moment)))}%`;
    show(hover, true);
  });
  track.addEventListener("pointerleave", () => show(hover, false));
  track.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const move = STEPS[event.key];
    const acts = { End: live, Escape: live, PageUp: () => step(-1), PageDown: () => step(1), " ": toggle, Enter: toggle, Home: () => recordings.length && seek(Math.min(...recordings.map(({ begin }) => begin))) };
    const act = move ? () => seek((at ?? now) + move * (event.shiftKey ? LARGER : 1), Math.sign(move)) : acts[event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  });

  return {
    element,
    choice,
    /** `list` of `{ id, begin, end, open, chosen }` (ms), the server's time, and the moment that is played, null for live. */
    tell(list, time, playing) {
      recordings = list;
      now = time;
      at = playing;
      draw();
    },
  };
}
