/** The place of the runs: `/console/runs` lists them, `/console/runs/<kind>/<id>` is one. */

import { RunList } from "./runs/list.js";
import { RunPage } from "./runs/page.js";

export default {
  styles: ["/console/places/runs.css"],
  open: (context, params) => (params.path.length > 1 ? new RunPage(context, params.path) : new RunList(context, params)),
};
