/**
 * Turns mouse, touch and keys on a picture into moves of the camera, of the picture in its box, regions and picks.
 *
 * Only differences are ever sent, counted from where a drag begins: so nothing jumps, whatever the camera is.
 */

// The notes of Octane's own clients: a hundredth of a radian a pixel.
const RADIANS = 0.01;
// A drag over the whole height moves the picture by about its height, with Octane's usual field of view.
const HEIGHT = 0.83;
// Pixels that a hand may tremble in a click.
const TREMBLE = 4;
const KEY = { radians: Math.PI / 36, fraction: 0.05, factor: 1.1, view: 40, zoom: 1.25 };
// One notch of a wheel is 100 pixels, and 10 %.
const WHEEL = 0.001;
const LINE = 16;
// A wheel has no release: it counts as let go after this (ms).
const WHEEL_REST = 150;

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * `view` has what the gestures act on: `tool()` (camera, hand, region, film or pick), `movable()`, `moves`, `framing`, `picture()`,
 * `box()`, `pixel(point)` (of the picture, or null beside it), and hears `took()`, `region(from, to, done)`, `pick(pixel)`.
 */
export class Gestures {
  #stage;
  #view;
  #pointers = new Map();
  #mode = null;
  #start = null;
  #moved = false;
  #span = 0;
  #suspended = false;
  #rest = null;

  constructor(stage, view) {
    this.#stage = stage;
    this.#view = view;
    stage.addEventListener("pointerdown", (event) => this.#down(event));
    stage.addEventListener("pointermove", (event) => this.#move(event));
    stage.addEventListener("pointerup", (event) => this.#up(event));
    stage.addEventListener("pointercancel", (event) => this.#up(event, true));
    stage.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    stage.addEventListener("keydown", (event) => this.#key(event));
    stage.addEventListener("keyup", (event) => event.key in ARROWS && view.moves.release());
    stage.addEventListener("contextmenu", (event) => this.#own(event) && event.preventDefault());
  }

  /** Ends a drag of the camera that is going on; the hand has to take hold again. */
  suspend() {
    this.#suspended = true;
    this.#view.moves.drop();
  }

  // Buttons and lists on the picture are not the picture.
  #own(event) {
    return !event.target.closest?.("button, select, input, a");
  }

  #place(event) {
    const { left, top } = this.#stage.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }

  #modeOf({ button, ctrlKey, metaKey, shiftKey, pointerType }) {
    const tool = this.#view.tool();
    if ((ctrlKey || metaKey) && button === 0) return "move";
    if (button === 0 && (tool === "region" || tool === "film")) return "region";
    if (button === 0 && tool === "pick") return tool;
    if (tool === "hand" || !this.#view.movable()) return button === 0 || pointerType === "touch" ? "move" : null;
    return button === 0 && !shiftKey ? "orbit" : "pan";
  }

  #down(event) {
    if (!this.#own(event)) return;
    event.preventDefault();
    this.#stage.focus({ preventScroll: true });
    try {
      this.#stage.setPointerCapture(event.pointerId);
    } catch {
      // The pointer has gone already.
    }
    this.#pointers.set(event.pointerId, this.#place(event));
    if (this.#pointers.size === 2) {
      if (this.#mode === "region") this.#view.region(null, null, false);
      this.#mode = this.#view.tool() === "camera" && this.#view.movable() ? "pinch" : "zoom";
      this.#span = 0;
      this.#take();
    } else if (this.#pointers.size === 1) {
      this.#mode = this.#modeOf(event);
      this.#start = this.#place(event);
      this.#moved = false;
      this.#take();
    }
  }

  #take() {
    this.#suspended = false;
    if (["orbit", "pan", "pinch"].includes(this.#mode)) this.#view.took();
  }

  #move(event) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    const now = this.#place(event);
    if (this.#pointers.size === 2) {
      this.#pointers.set(event.pointerId, now);
      this.#pinch(now.x - before.x, now.y - before.y);
      return;
    }
    if (!this.#moved) {
      if (Math.hypot(now.x - this.#start.x, now.y - this.#start.y) < TREMBLE) return;
      this.#moved = true;
      // What was trembled away is no part of the move.
      if (this.#mode !== "region") {
        this.#pointers.set(event.pointerId, now);
        return;
      }
    }
    this.#pointers.set(event.pointerId, now);
    this.#drag(now.x - before.x, now.y - before.y, now);
  }

  #drag(dx, dy, now) {
    const { moves, framing } = this.#view;
    if (this.#mode === "move") framing.move(dx, dy, this.#view.picture(), this.#view.box());
    else if (this.#mode === "region") this.#view.region(this.#start, now, false);
    else if (this.#suspended) return;
    else if (this.#mode === "orbit") moves.add("orbit", { dx: dx * RADIANS, dy: dy * RADIANS });
    else if (this.#mode === "pan") moves.add("pan", this.#fractions(dx, dy));
  }

  #fractions(dx, dy) {
    const part = HEIGHT / Math.max(1, this.#view.box().height);
    return { dx: dx * part, dy: dy * part };
  }

  // Each of two fingers moves the middle by half of its way.
  #pinch(dx, dy) {
    const [a, b] = [...this.#pointers.values()];
    const span = Math.max(1, Math.hypot(a.x - b.x, a.y - b.y));
    const before = this.#span || span;
    this.#span = span;
    if (this.#mode === "zoom") {
      const middle = { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
      this.#view.framing.move(dx / 2, dy / 2, this.#view.picture(), this.#view.box());
      this.#view.framing.zoom(span / before, middle, this.#view.picture(), this.#view.box());
    } else if (this.#mode === "pinch" && !this.#suspended) {
      this.#view.moves.add("pan", this.#fractions(dx / 2, dy / 2));
      if (span !== before) this.#view.moves.add("dolly", { factor: before / span });
    }
  }

  #up(event, cancelled = false) {
    if (!this.#pointers.delete(event.pointerId)) return;
    if (this.#pointers.size) {
      // The finger that stays begins nothing new.
      if (this.#mode === "pinch") this.#view.moves.release();
      this.#mode = null;
      return;
    }
    const now = this.#place(event);
    if (this.#mode === "region") this.#view.region(this.#start, this.#moved && !cancelled ? now : null, true);
    else if (this.#mode === "pick" && !this.#moved && !cancelled) this.#view.pick(this.#view.pixel(now));
    else this.#view.moves.release();
    this.#mode = null;
  }

  #wheel(event) {
    if (!this.#own(event)) return;
    const page = document.scrollingElement;
    // A page that scrolls is scrolled: the wheel belongs to the picture once that has the focus.
    const scrolls = page.scrollHeight > page.clientHeight + 1 && !document.fullscreenElement;
    if (scrolls && !event.ctrlKey && !this.#stage.matches(":focus")) return;
    event.preventDefault();
    const { framing, moves } = this.#view;
    const by = Math.max(-200, Math.min(200, event.deltaY * (event.deltaMode === 1 ? LINE : event.deltaMode === 2 ? 10 * LINE : 1)));
    // A pinch on a trackpad comes as a wheel with Ctrl, in small steps.
    const fine = event.ctrlKey && Math.abs(by) < 50 ? 10 : 1;
    if (event.ctrlKey || this.#view.tool() === "hand" || !this.#view.movable()) {
      framing.zoom(Math.exp(-by * WHEEL * fine * 1.5), this.#place(event), this.#view.picture(), this.#view.box());
      return;
    }
    if (this.#rest === null) this.#view.took();
    moves.add("dolly", { factor: Math.exp(by * WHEEL) });
    clearTimeout(this.#rest);
    this.#rest = setTimeout(() => {
      this.#rest = null;
      moves.release();
    }, WHEEL_REST);
  }

  #key(event) {
    if (!this.#own(event) || event.altKey || event.metaKey) return;
    const arrow = ARROWS[event.key];
    const nearer = event.key === "+" || event.key === "=";
    if (!arrow && !nearer && event.key !== "-") return;
    const tool = this.#view.tool();
    if (arrow && tool === "pick") return;
    event.preventDefault();
    const picture = this.#view.picture();
    const box = this.#view.box();
    const { framing, moves } = this.#view;
    if (event.ctrlKey || tool === "hand" || !this.#view.movable()) {
      if (arrow) framing.move(-arrow[0] * KEY.view, -arrow[1] * KEY.view, picture, box);
      else framing.zoom(nearer ? KEY.zoom : 1 / KEY.zoom, { x: box.width / 2, y: box.height / 2 }, picture, box);
      return;
    }
    if (!event.repeat) this.#view.took();
    if (!arrow) moves.add("dolly", { factor: nearer ? 1 / KEY.factor : KEY.factor });
    else if (event.shiftKey) moves.add("pan", { dx: arrow[0] * KEY.fraction, dy: arrow[1] * KEY.fraction });
    else moves.add("orbit", { dx: arrow[0] * KEY.radians, dy: arrow[1] * KEY.radians });
  }
}
