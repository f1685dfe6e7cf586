/** Shows one camera's live picture, zoomed and moved, with what lies on it: its region of interest, its figures, its condition. */

import { h, icon, say, show } from "../../dom.js";
import { number } from "../../format.js";
import { CameraPlayer } from "../../../client/player.js";
import { Gestures } from "../octane/gestures.js";
import { layer, pixel, pixels } from "../octane/layer.js";
import { figures } from "./figures.js";

const idle = { add() {}, release() {}, drop() {} };

/** `{ left, top, width, height }` and `{ left, top, right, bottom }`. */
export const edgesOf = (rect) => rect && { left: rect.left, top: rect.top, right: rect.left + rect.width, bottom: rect.top + rect.height };
export const sizesOf = (rect) => rect && { left: rect.left, top: rect.top, width: rect.right - rect.left, height: rect.bottom - rect.top };

/** What a region of the sensor is in the pixels of a picture that shows `shown` of it, at another size perhaps; and back. */
export function inPicture(rect, shown, picture) {
  const [x, y] = [picture.width / shown.width, picture.height / shown.height];
  return { left: (rect.left - shown.left) * x, top: (rect.top - shown.top) * y, width: rect.width * x, height: rect.height * y };
}

export function inSensor(rect, shown, picture) {
  const [x, y] = [shown.width / picture.width, shown.height / picture.height];
  const left = Math.floor(rect.left * x);
  const top = Math.floor(rect.top * y);
  return { left: shown.left + left, top: shown.top + top, width: Math.max(1, Math.ceil((rect.left + rect.width) * x) - left), height: Math.max(1, Math.ceil((rect.top + rect.height) * y) - top) };
}

/**
 * `view` has client, framing, id(), tool(), region(rect in pixels of the picture), clearRegion(), changed(), wish() and prefer().
 */
export class CameraPane {
  #view;
  #layer;
  #figures = figures();
  #title = h("strong");
  #text = h("span");
  #said = "";
  #box = { width: 0, height: 0 };
  #size = "";
  player = null;

  constructor(view) {
    this.#view = view;
    this.canvas = h("canvas", { role: "img", "aria-label": "The camera's live picture" });
    this.#layer = layer(() => view.clearRegion(), () => {}, "region of interest");
    this.condition = h("div.condition", { role: "status", hidden: true }, icon("alert"), h("p", {}, this.#title, this.#text));
    this.element = h("div.stage.viewport", {
      tabindex: 0,
      role: "application",
      "aria-roledescription": "viewport",
      "aria-label": "Camera: plus and minus zoom the picture, arrows move it, question mark lists all keys",
      dataset: { tool: "hand" },
    }, this.canvas, ...this.#layer.elements, ...this.#figures.elements, this.condition, h("p.hint", { role: "status" }, "Drag a rectangle. Escape leaves it as it is."));
    this.gestures = new Gestures(this.element, {
      tool: view.tool,
      movable: () => false,
      moves: idle,
      framing: view.framing,
      took() {},
      picture: () => this.picture,
      box: () => this.#box,
      pixel: (point) => pixel(point, this.place, this.picture),
      region: (from, to, done) => this.#region(from, to, done),
      pick() {},
    });
    view.framing.watch(() => this.draw());
    new ResizeObserver(() => this.#measure()).observe(this.element);
  }

  get picture() {
    return this.player?.header ? { width: this.canvas.width, height: this.canvas.height } : { width: 0, height: 0 };
  }

  get box() {
    return this.#box;
  }

  get place() {
    return this.#view.framing.place(this.picture, this.#box);
  }

  /** Whether the full figures are shown. */
  toggleFigures() {
    const shown = this.#figures.toggle();
    this.#view.changed();
    return shown;
  }

  /** Plays a camera from its address. A camera of before leaves nothing on the page. */
  play(id) {
    this.player?.close();
    this.canvas.width = this.canvas.height = 0;
    this.#size = "";
    const { client } = this.#view;
    this.player = new CameraPlayer(this.canvas, `${client.base}/cameras/${encodeURIComponent(id)}`, {
      ticket: (transport) => client.ticket({ camera: id, transport }),
      prefer: this.#view.prefer(),
      ...this.#view.wish(),
      now: () => client.clock.now(),
      onFrame: () => this.#painted(),
      onStats: () => this.#view.changed(),
      onState: () => this.player && this.#view.changed(),
    });
    this.player.start();
  }

  /** When a picture that was new was last painted, in ms of this computer's clock. */
  get freshAt() {
    return this.player?.surface.freshAt ?? 0;
  }

  /** The region of interest, in pixels of the picture; null without one that the picture shows a part of. */
  set region(rect) {
    this.#layer.parts.region = rect && edgesOf(rect);
    this.draw();
  }

  /** Shows what the picture's state is: `condition` of condition.js. `hidden` where something else is shown in its place. */
  tell(device, { title, text, tone, stale }, hidden) {
    const empty = !this.player?.header;
    this.element.classList.toggle("stale", stale && !empty);
    this.element.classList.toggle("empty", empty);
    const shown = title || (empty ? "Waiting for the first picture" : "");
    show(this.condition, Boolean(shown) && !hidden);
    this.condition.dataset.tone = title ? tone : "quiet";
    // Ages grow each second; only a change of what is the matter is read out.
    const said = title.replaceAll(/\d/g, "");
    this.condition.setAttribute("aria-live", said === this.#said ? "off" : "polite");
    this.#said = said;
    say(this.#title, shown);
    say(this.#text, text);
    show(this.#text, Boolean(text));
    if (!this.player) return;
    const { fitted } = this.#view.framing;
    this.#figures.tell(device, this.player, fitted ? "" : `${number(this.place.scale * devicePixelRatio * 100)} %`);
  }

  /** Puts picture and layer where the framing says. */
  draw() {
    const { place } = this;
    this.canvas.style.transform = `translate(${place.x}px, ${place.y}px) scale(${place.scale})`;
    this.canvas.classList.toggle("pixelated", place.scale * devicePixelRatio >= 3);
    this.element.classList.toggle("zoomed", !this.#view.framing.fitted);
    this.#layer.draw(place);
  }

  #measure() {
    this.#box = { width: this.element.clientWidth, height: this.element.clientHeight };
    this.draw();
  }

  #painted() {
    const size = `${this.canvas.width} × ${this.canvas.height}`;
    if (size === this.#size) return;
    this.#size = size;
    this.draw();
    this.#view.changed();
  }

  #region(from, to, done) {
    const { parts } = this.#layer;
    parts.draft = from && to && this.picture.width ? pixels(from, to, this.place, this.picture) : null;
    const rect = parts.draft;
    if (done) parts.draft = null;
    this.draw();
    if (done && rect) this.#view.region(sizesOf(rect));
  }
}
