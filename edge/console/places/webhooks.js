/** The place of the webhooks: `/console/webhooks` lists the endpoints, `…/<id>` is one, `…/<id>/<event>` the attempts of one event. */

import { listView } from "./webhooks/list.js";
import { placeView } from "./webhooks/place.js";

export default {
  styles: ["/console/places/sessions.css"],
  open(context, params) {
    const [id, event] = params.path;
    return id ? placeView(context, id, event ? { q: event } : Object.fromEntries(params.query)) : listView(context, params);
  },
};
