/** The place of the sessions: `/console/sessions` lists them, `…/new` makes one, `…/<id>` is one. */

import { listView } from "./sessions/list.js";
import { createView } from "./sessions/create.js";
import { sessionView } from "./sessions/session.js";

export default {
  styles: ["/console/places/sessions.css"],
  open(context, params) {
    const [id] = params.path;
    if (!id) return listView(context, params);
    return id === "new" ? createView(context, params) : sessionView(context, id);
  },
};
