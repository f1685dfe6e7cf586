/** The place of the cameras: the viewer with its controls and recordings; `/console/cameras/<id>` is one camera. */

import { followDevice, hosted } from "../parts/hosted.js";
import { cameraView } from "../views/camera.js";

export default {
  styles: ["/console/octane.css", "/console/camera.css"],
  open: hosted({
    id: "camera",
    classes: "camera",
    make: (root, { store, client }) => cameraView(root, store, client),
    // Nobody looks: the camera may rest.
    rest: (view) => {
      view.pane.player?.close();
      view.pane.player = null;
    },
    wake: (view) => view.commands.id && view.pane.play(view.commands.id),
    follow: followDevice("cameras"),
  }),
};
