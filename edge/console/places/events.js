/** The place of the events: the stream, with filters and search. */

import { hosted } from "../parts/hosted.js";
import { streamView } from "../views/stream.js";

export default {
  open: hosted({ id: "stream", classes: "stream", make: (root, { store, client }) => streamView(root, store, client) }),
};
