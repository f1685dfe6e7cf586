/** Frames a camera's picture: it never leaves its box, so a fitted one is not moved, and none is smaller than fitted. */

import { Framing } from "../octane/framing.js";

export class CameraFraming extends Framing {
  move(dx, dy, picture, box) {
    if (!this.fitted) super.move(dx, dy, picture, box);
  }

  zoom(factor, point, picture, box) {
    if (!picture.width || !box.width) return;
    const fitting = Math.min(box.width / picture.width, box.height / picture.height);
    if (this.place(picture, box).scale * factor <= fitting) this.fit();
    else super.zoom(factor, point, picture, box);
  }
}
