/** Small plots of a series over time: the newest at the right, a gap where there is nothing, the value under the pointer said. */

import { h, say, show } from "../dom.js";
import { clock, short } from "../format.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [300, 64];

const path = (name) => {
  const element = document.createElementNS(SVG, "path");
  element.setAttribute("class", name);
  return element;
};

/** Points with gaps as SVG lines: `[{ x, y } | null]`. */
function lines(points) {
  let text = "";
  let pen = "M";
  for (const point of points) {
    if (!point) pen = "M";
    else {
      text += `${pen}${point.x.toFixed(1)},${point.y.toFixed(1)}`;
      pen = "L";
    }
  }
  return text;
}

/**
 * A plot with a title and its newest value. `series` are `{ name, tone }`, the first one filled. `set(times, values, span)` takes times
 * in ms and a list of numbers for each series; `span` is how many ms the plot shows up to the newest time, `present` the value of now
 * where that is known better than by the newest time.
 */
export function plot(title, { unit = "", series = [{ name: title, tone: "accent" }] } = {}) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  const area = path("area");
  const drawn = series.map(({ tone }) => path(`line tone-${tone}`));
  const cursor = path("cursor");
  svg.append(area, ...drawn, cursor);
  area.classList.add(`tone-${series[0].tone}`);
  const value = h("strong");
  const note = h("span.faint");
  const legend = series.length > 1 ? h("ul.legend", {}, ...series.map(({ name, tone }) => h(`li.tone-${tone}`, {}, name))) : null;
  const top = h("span.top.faint");
  const early = h("span.early.faint", { hidden: true }, "Collecting the first samples …");
  const element = h("figure.plot", {}, h("figcaption", {}, h("span.name", {}, title), value, note), h("div.canvas", {}, svg, top, early), legend);
  let shown = { times: [], values: [], from: 0, span: 1, present: null };

  const figure = (at) => shown.values.map((each) => each[at]).reduce((sum, each) => sum + each, 0);
  const tell = (at) => {
    const live = at === null;
    const place = live ? shown.times.length - 1 : at;
    say(value, shown.times.length ? `${short(live ? shown.present ?? figure(place) : figure(place))}${unit}` : "–");
    say(note, live ? "" : `at ${clock(shown.times[place]).slice(0, 8)}${series.length > 1 ? `: ${series.map(({ name }, each) => `${name} ${short(shown.values[each][place])}`).join(", ")}` : ""}`);
    const x = ((shown.times[place] - shown.from) / shown.span) * WIDTH;
    cursor.setAttribute("d", live ? "" : `M${x.toFixed(1)},0V${HEIGHT}`);
  };
  svg.addEventListener("pointermove", ({ offsetX }) => {
    if (!shown.times.length) return;
    const at = shown.from + (offsetX / svg.clientWidth) * shown.span;
    let nearest = 0;
    shown.times.forEach((time, place) => Math.abs(time - at) < Math.abs(shown.times[nearest] - at) && (nearest = place));
    tell(nearest);
  });
  svg.addEventListener("pointerleave", () => tell(null));

  const set = (times, values, span, present = null) => {
    const last = times.at(-1) ?? 0;
    shown = { times, values, from: last - span, span, present };
    const most = Math.max(1e-9, ...values.flat());
    // Two samples that are farther apart than this have none between them.
    const apart = times.length > 1 ? 2.5 * Math.min(...times.slice(1).map((time, at) => time - times[at])) : Infinity;
    const place = (each) => times.flatMap((time, at) => {
      const point = { x: ((time - shown.from) / span) * WIDTH, y: HEIGHT - 2 - (each[at] / most) * (HEIGHT - 16) };
      return at && time - times[at - 1] > apart ? [null, point] : [point];
    });
    values.forEach((each, at) => drawn[at].setAttribute("d", lines(place(each))));
    const points = place(values[0]).filter(Boolean);
    area.setAttribute("d", points.length > 1 ? `M${points[0].x.toFixed(1)},${HEIGHT}${points.map(({ x, y }) => `L${x.toFixed(1)},${y.toFixed(1)}`).join("")}L${points.at(-1).x.toFixed(1)},${HEIGHT}Z` : "");
    show(early, times.length < 2);
    say(top, times.length > 1 ? short(most < 1e-6 ? 0 : most) : "");
    tell(null);
    svg.setAttribute("aria-label", `${title}: ${value.textContent} now, at most ${top.textContent} in the last hour`);
  };
  set([], series.map(() => []), 1);
  return { element, set };
}
