/** Draws on a picture what belongs to its pixels: the render region, the film region, and the place of a pick. */

import { h, show } from "../../dom.js";

const clamp = (value, most) => Math.min(most, Math.max(0, value));

/** The whole pixels that a drag covers, inside the picture; null where that is nothing. */
export function pixels(from, to, place, picture) {
  const at = ({ x, y }) => ({ x: (x - place.x) / place.scale, y: (y - place.y) / place.scale });
  const [a, b] = [at(from), at(to)];
  const left = Math.floor(clamp(Math.min(a.x, b.x), picture.width));
  const top = Math.floor(clamp(Math.min(a.y, b.y), picture.height));
  const right = Math.ceil(clamp(Math.max(a.x, b.x), picture.width));
  const bottom = Math.ceil(clamp(Math.max(a.y, b.y), picture.height));
  return right > left && bottom > top ? { left, top, right, bottom } : null;
}

/** The pixel under a point of the box, or null beside the picture. */
export function pixel(point, place, picture) {
  const x = Math.floor((point.x - place.x) / place.scale);
  const y = Math.floor((point.y - place.y) / place.scale);
  return x >= 0 && y >= 0 && x < picture.width && y < picture.height ? { x, y } : null;
}

export const sized = ({ left, top, right, bottom }) => `${right - left} × ${bottom - top} at ${left}, ${top}`;

/** What a film region is in the pixels of a picture: whole, where Octane makes pictures of its size; a part, where it makes them of the film's. */
export function filmPlace(film, picture) {
  if (!film) return { x: 0, y: 0 };
  const whole = picture.width === film.right - film.left && picture.height === film.bottom - film.top;
  return whole ? { x: film.left, y: film.top } : { x: 0, y: 0 };
}

/** A rectangle moved by whole pixels. */
export const moved = ({ left, top, right, bottom }, x, y) => ({ left: left + x, top: top + y, right: right + x, bottom: bottom + y });

// A frame with its size and a button that takes it away.
function frame(name, what, onClear) {
  const caption = h("span.caption");
  const clear = h("button.clear", { type: "button", title: `Clear the ${what}`, "aria-label": `Clear the ${what}`, onclick: onClear }, "×");
  return { element: h(name, { hidden: true }, caption, clear), caption };
}

/** `region`, `film` (in the picture's pixels; `filmText` its caption), `draft` (rectangles in pixels) and `marker` (a pixel) are set as fields; `draw(place)` puts them where they belong. */
export function layer(onClear, onClearFilm, what = "render region") {
  const region = frame("div.region", what, onClear);
  const film = frame("div.film-region", "film region", onClearFilm);
  const size = h("span.caption");
  const draft = h("div.region.draft", { hidden: true }, size);
  const marker = h("div.marker", { hidden: true, "aria-hidden": "true" });
  const parts = { region: null, film: null, filmText: "", draft: null, marker: null };

  const put = (element, rect, { scale, x, y }) => {
    show(element, Boolean(rect));
    if (!rect) return;
    element.style.translate = `${x + rect.left * scale}px ${y + rect.top * scale}px`;
    element.style.width = `${(rect.right - rect.left) * scale}px`;
    element.style.height = `${(rect.bottom - rect.top) * scale}px`;
  };
  const draw = (place) => {
    put(film.element, parts.film, place);
    film.caption.textContent = parts.filmText;
    put(region.element, parts.region, place);
    if (parts.region) region.caption.textContent = sized(parts.region);
    put(draft, parts.draft, place);
    if (parts.draft) size.textContent = sized(parts.draft);
    show(marker, Boolean(parts.marker));
    if (parts.marker) marker.style.translate = `${place.x + (parts.marker.x + 0.5) * place.scale}px ${place.y + (parts.marker.y + 0.5) * place.scale}px`;
  };
  return { elements: [film.element, region.element, draft, marker], parts, draw };
}
