/** Says where in its box a picture lies and how large: fitted, at its own size, or zoomed and moved by hand. */

// A tenth of a picture's size to ten times it.
const LEAST = 0.1;
const MOST = 10;

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** One framing may serve several boxes: what it keeps is relative to the picture. Sizes are `{ width, height }` in pixels. */
export class Framing {
  #zoom = null;
  #centre = { x: 0.5, y: 0.5 };
  #watchers = [];

  /** Calls `watcher` after each change. */
  watch(watcher) {
    this.#watchers.push(watcher);
  }

  /** Whether the whole picture is fitted into the box. */
  get fitted() {
    return this.#zoom === null;
  }

  /** Shows the whole picture, as large as the box allows. */
  fit() {
    this.#set(null, { x: 0.5, y: 0.5 });
  }

  /** Shows one pixel of the picture as one pixel of the screen. */
  actual() {
    this.#set(1 / devicePixelRatio, this.#centre);
  }

  /** CSS pixels for one of the picture's, and where its top left corner lies. */
  place(picture, box) {
    if (!picture.width || !picture.height) return { scale: 1, x: 0, y: 0 };
    const scale = this.#zoom ?? Math.min(box.width / picture.width, box.height / picture.height);
    return {
      scale,
      x: box.width / 2 - this.#centre.x * picture.width * scale,
      y: box.height / 2 - this.#centre.y * picture.height * scale,
    };
  }

  /** Zooms by a factor; what lies under `point` (in the box) stays there. */
  zoom(factor, point, picture, box) {
    const { scale, x, y } = this.place(picture, box);
    const next = clamp(scale * factor, LEAST, MOST);
    const part = next / scale;
    this.#set(next, this.#centred({ x: point.x - (point.x - x) * part, y: point.y - (point.y - y) * part }, next, picture, box));
  }

  /** Moves the picture by CSS pixels. */
  move(dx, dy, picture, box) {
    const { scale, x, y } = this.place(picture, box);
    this.#set(scale, this.#centred({ x: x + dx, y: y + dy }, scale, picture, box));
  }

  #centred(corner, scale, picture, box) {
    return {
      x: clamp((box.width / 2 - corner.x) / (picture.width * scale), 0, 1),
      y: clamp((box.height / 2 - corner.y) / (picture.height * scale), 0, 1),
    };
  }

  #set(zoom, centre) {
    this.#zoom = zoom;
    this.#centre = centre;
    for (const watcher of this.#watchers) watcher();
  }
}
