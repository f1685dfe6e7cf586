/** The place of the alerts. */

import { hosted } from "../parts/hosted.js";
import { alertsView } from "../views/alerts.js";

export default {
  open: hosted({ id: "alerts", classes: "alerts", make: (root, { store, client }) => alertsView(root, store, client) }),
};
