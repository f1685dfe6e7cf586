/** Shows one render pass of an Octane: its live picture, zoomed and moved, with what lies on it. */

import { h, icon, say, show } from "../../dom.js";
import { FrameStream } from "../../../client/frames.js";
import { bytes, milliseconds, number } from "../../format.js";
import { Gestures } from "./gestures.js";
import { filmPlace, layer, moved, pixel, pixels, sized } from "./layer.js";
import { lastPicture } from "./saving.js";

const BEAUTY = "beauty";
// How long (ms) a stream may show nothing until the picture that the server keeps is read; and then again.
const PATIENCE = 2_500;
const AGAIN = 15_000;

/** `z_depth` → `Z depth`, `pass-501` → `Pass 501`. */
export const passLabel = (name) => {
  const words = name.replaceAll(/[_-]/g, " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
};

const query = (values) => {
  const text = new URLSearchParams(values).toString();
  return text && `?${text}`;
};

/**
 * `view` is what all panes of an Octane share: client, framing, moves, tool(), movable(), took(), region(rect), pick(pixel),
 * clearRegion(), filmRegion(rect), clearFilmRegion(), changed(). `label` names the pane.
 */
export class Pane {
  #view;
  #stream = null;
  #opened = "";
  #kept = null;
  #looking = null;
  #layer;
  #fps = h("span");
  #latency = h("span");
  #size = h("span");
  #flow = h("span");
  #zoom = h("span");
  #title = h("strong");
  #text = h("span");
  #said = "";
  #film = null;
  #box = { width: 0, height: 0 };
  pass = BEAUTY;

  constructor(view, label) {
    this.#view = view;
    this.canvas = h("canvas", { role: "img", "aria-label": `${label}: the rendered picture` });
    this.choice = h("select.pass", { "aria-label": `Render pass of ${label.toLowerCase()}`, title: "Render pass", onchange: () => this.show(this.choice.value) });
    this.#layer = layer(() => view.clearRegion(), () => view.clearFilmRegion());
    this.figures = h("div.figures", { "aria-hidden": "true" }, this.#size, this.#fps, this.#latency, this.#flow, this.#zoom);
    this.condition = h("div.condition", { role: "status", hidden: true }, icon("alert"), h("p", {}, this.#title, this.#text));
    this.element = h("div.stage.viewport", {
      tabindex: 0,
      role: "application",
      "aria-roledescription": "viewport",
      "aria-label": `${label}: arrows turn the camera, Shift and arrows move it, plus and minus bring it nearer or farther, question mark lists all keys`,
    }, this.canvas, ...this.#layer.elements, this.choice, this.figures, this.condition);
    this.gestures = new Gestures(this.element, {
      tool: view.tool,
      movable: view.movable,
      moves: view.moves,
      framing: view.framing,
      took: view.took,
      picture: () => this.picture,
      box: () => this.#box,
      pixel: (point) => pixel(point, this.place, this.picture),
      region: (from, to, done) => this.#region(from, to, done),
      pick: (at) => view.pick(at),
    });
    view.framing.watch(() => this.draw());
    new ResizeObserver(() => this.#measure()).observe(this.element);
  }

  /** The picture's size in pixels: zero before the first. */
  get picture() {
    return this.header ? { width: this.canvas.width, height: this.canvas.height } : { width: 0, height: 0 };
  }

  get place() {
    return this.#view.framing.place(this.picture, this.#box);
  }

  get phase() {
    return this.#stream?.phase ?? "idle";
  }

  get refusal() {
    return this.phase === "open" ? null : this.#stream?.refusal ?? null;
  }

  /** The newest picture's header; null before the first. */
  get header() {
    return this.#stream?.header ?? this.#kept;
  }

  /** When the picture shown was made (ms of the server's clock); null without one. */
  get pictured() {
    return Number.isFinite(this.header?.time) ? this.header.time : null;
  }

  /** Who rendered the picture shown, where it is one that the server has kept. */
  get by() {
    return this.header?.by ?? "";
  }

  /** Whether the picture shown is not of the stream. */
  get kept() {
    return Boolean(this.header?.kept);
  }

  set region(rect) {
    this.#layer.parts.region = rect;
    this.draw();
  }

  /** The film region, in pixels of the film; null where the whole film is rendered. */
  set film(rect) {
    this.#film = rect;
    this.draw();
  }

  /** Where the last pick was, or where the keys have put it. */
  set marker(at) {
    this.#layer.parts.marker = at;
    this.draw();
  }

  get marker() {
    return this.#layer.parts.marker;
  }

  /** The path of the picture under an Octane's address, as this pane shows it: `snapshot?pass=…`. */
  path(kind, more = {}) {
    return `/octane/${encodeURIComponent(this.#view.id())}/${kind}${query({ ...(this.pass === BEAUTY ? {} : { pass: this.pass }), ...more })}`;
  }

  /** Watches a render pass; the same one again opens nothing new. */
  show(pass = this.pass) {
    this.pass = pass;
    const { client } = this.#view;
    const id = this.#view.id();
    const background = this.#view.background();
    const path = this.path("ws", background === "black" ? {} : { background });
    if (this.#opened === path) return;
    this.close();
    this.#opened = path;
    this.#stream = new FrameStream(this.canvas, `${client.base}${path}`, {
      ticket: () => client.ticket({ octane: id, transport: "websocket" }),
      now: () => client.clock.now(),
      onFrame: () => this.#drawn(),
      onStats: () => this.#tell(),
      onPhase: () => this.#view.changed(),
    });
    this.#stream.start();
    this.#looking = setTimeout(() => this.#lookBack(), PATIENCE);
    this.#view.changed();
  }

  // What a source shows that shows nothing now: the last picture is worth more than none.
  async #lookBack() {
    const opened = this.#opened;
    const { client } = this.#view;
    const found = this.header ? null : await lastPicture(client, this.path("snapshot")).catch(() => null);
    if (opened !== this.#opened || this.header) return;
    if (found) {
      this.#kept = found.header;
      this.canvas.width = found.bitmap.width;
      this.canvas.height = found.bitmap.height;
      this.#stream.surface.drawImage(found.bitmap, 0, 0);
      this.#drawn();
    } else {
      this.#looking = setTimeout(() => this.#lookBack(), AGAIN);
    }
  }

  /** Ends the stream and forgets its picture. */
  close() {
    clearTimeout(this.#looking);
    this.#stream?.close();
    this.#stream = this.#kept = null;
    this.#opened = "";
    this.canvas.width = this.canvas.height = 0;
  }

  /** Offers the passes that can be watched. One that was chosen stays in the list, though it may be off for a moment. */
  offer(passes) {
    const names = [...new Set([BEAUTY, ...passes, this.pass])];
    if (names.join() !== [...this.choice.options].map(({ value }) => value).join()) {
      this.choice.replaceChildren(...names.map((name) => h("option", { value: name }, passLabel(name))));
    }
    this.choice.value = this.pass;
    show(this.choice, names.length > 1);
  }

  /** Shows what the picture's state is: `condition` of condition.js. */
  tell({ title, text, tone, stale, note = false }) {
    const empty = !this.header;
    this.element.classList.toggle("stale", stale && !empty);
    this.element.classList.toggle("empty", empty);
    const shown = title || (empty ? "Waiting for the first picture" : "");
    show(this.condition, Boolean(shown));
    this.condition.dataset.tone = note ? "warn" : title ? tone : "quiet";
    this.condition.classList.toggle("small", note);
    show(this.figures, !empty);
    // Ages grow each second; only a change of what is the matter is read out.
    this.condition.setAttribute("aria-live", title.replaceAll(/\d/g, "") === this.#said ? "off" : "polite");
    this.#said = title.replaceAll(/\d/g, "");
    say(this.#title, shown);
    say(this.#text, text);
    show(this.#text, Boolean(text));
  }

  /** Puts picture and layer where the framing says. */
  draw() {
    const place = this.place;
    this.canvas.style.transform = `translate(${place.x}px, ${place.y}px) scale(${place.scale})`;
    this.canvas.classList.toggle("pixelated", place.scale * devicePixelRatio >= 3);
    say(this.#zoom, this.#view.framing.fitted ? "" : `${number(place.scale * devicePixelRatio * 100)} %`);
    this.#frameFilm();
    this.#layer.draw(place);
  }

  #measure() {
    this.#box = { width: this.element.clientWidth, height: this.element.clientHeight };
    this.draw();
  }

  #drawn() {
    const { width, height } = this.picture;
    const size = `${width} × ${height}`;
    if (this.#size.textContent !== size) this.draw();
    say(this.#size, size);
    this.#view.changed();
  }

  #tell() {
    const { stats } = this.#stream;
    const flows = stats.receivedFps > 0;
    say(this.#fps, flows ? `${number(stats.fps, stats.fps < 10 ? 1 : 0)} fps` : "");
    say(this.#latency, flows && Number.isFinite(stats.latency) ? milliseconds(stats.latency) : "");
    say(this.#flow, flows ? `${bytes(stats.bytesPerSecond)}/s` : "");
    this.#view.changed();
  }

  #region(from, to, done) {
    const { parts } = this.#layer;
    parts.draft = from && to && this.picture.width ? pixels(from, to, this.place, this.picture) : null;
    if (done) {
      const rect = parts.draft;
      parts.draft = null;
      if (rect) this.#take(rect);
    }
    this.draw();
  }

  // A film region counts from the film's corner, which is not the picture's where that shows a part of the film.
  #take(rect) {
    if (this.#view.tool() !== "film") this.#view.region(rect);
    else this.#view.filmRegion(moved(rect, ...this.#corner));
  }

  get #corner() {
    const { x, y } = filmPlace(this.#film, this.picture);
    return [x, y];
  }

  #frameFilm() {
    const { parts } = this.#layer;
    const [x, y] = this.#corner;
    parts.film = this.#film && this.picture.width ? moved(this.#film, -x, -y) : null;
    parts.filmText = this.#film ? `Film ${sized(this.#film)}` : "";
  }
}
