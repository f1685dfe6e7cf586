/**
 * Paints pictures on a canvas in their order: the newest wins, and one that is older than what was painted is never painted.
 *
 * The order is that of `(life, seq)`: the incarnation of the actor and the number of the captured picture. Where a header has no
 * `life`, the capture clock orders; where it has no time either, the transport alone.
 */

const known = (...values) => values.every(Number.isFinite);

/** Below zero where `a` was captured before `b`, zero for the same picture, above zero where nobody can tell. Takes headers. */
export function order(a, b) {
  if (known(a.life, b.life, a.seq, b.seq)) return a.life - b.life || a.seq - b.seq;
  return known(a.time, b.time) ? a.time - b.time : 1;
}

export class Surface {
  #context;
  #waiting = null;
  #drawing = 0;
  header = null;
  /** When a picture was last painted, and one that was new, in ms of this computer's clock. */
  paintedAt = 0;
  freshAt = 0;

  constructor(canvas) {
    this.canvas = canvas;
    this.#context = canvas.getContext("2d", { alpha: false });
  }

  /**
   * Takes a picture to paint: `{ header, image, free, settle }`. `image` is what a canvas can draw and `free()` lets go of it; `settle(how)` is
   * told once what became of it: `painted`, `repeated` (it is what was painted already), `late` (it is older), or `superseded`. An image
   * that is `passing`, such as a video that plays on, is painted at once.
   */
  offer(picture) {
    const difference = this.header ? order(picture.header, this.header) : 1;
    if (difference <= 0) {
      if (difference === 0) this.paintedAt = Date.now();
      this.#drop(picture, difference === 0 ? "repeated" : "late");
      return;
    }
    if (this.#waiting) {
      if (order(picture.header, this.#waiting.header) < 0) {
        this.#drop(picture, "late");
        return;
      }
      this.#drop(this.#waiting, "superseded");
    }
    this.#waiting = picture;
    if (picture.passing) this.#draw();
    else this.#drawing ||= requestAnimationFrame(() => this.#draw());
  }

  /** Lets go of a picture that waits to be painted. */
  rest() {
    cancelAnimationFrame(this.#drawing);
    this.#drawing = 0;
    if (this.#waiting) this.#drop(this.#waiting, "superseded");
    this.#waiting = null;
  }

  #drop({ free, settle }, how) {
    free?.();
    settle?.(how);
  }

  #draw() {
    cancelAnimationFrame(this.#drawing);
    this.#drawing = 0;
    const picture = this.#waiting;
    this.#waiting = null;
    if (!picture) return;
    const { header, image, free, settle } = picture;
    const width = image.displayWidth ?? image.videoWidth ?? image.width;
    const height = image.displayHeight ?? image.videoHeight ?? image.height;
    const { canvas } = this;
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    this.#context.drawImage(image, 0, 0, width, height);
    free?.();
    this.header = header;
    this.paintedAt = Date.now();
    if (header.fresh !== false) this.freshAt = this.paintedAt;
    settle?.("painted");
  }
}
