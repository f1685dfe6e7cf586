/** The place of the renders: the viewport of an Octane; `/console/renders/<id>` is one of them. */

import { followDevice, hosted } from "../parts/hosted.js";
import { renderView } from "../views/render.js";

export default {
  styles: ["/console/octane.css"],
  open: hosted({
    id: "render",
    classes: "render",
    make: (root, { store, client }) => renderView(root, store, client),
    // Nobody looks: the edge need not encode.
    rest: (view) => view.panes.forEach((pane) => pane.close()),
    wake: (view) => view.commands.id && view.panes.forEach((pane) => pane.show()),
    follow: followDevice("octanes"),
  }),
};
