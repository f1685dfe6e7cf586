/** The place of the runs: jobs, agents and threads with their progress and output. */

import { hosted } from "../parts/hosted.js";
import { runsView } from "../views/runs.js";

/** Opens the run of an address (`/console/runs/<domain>/<id>`) as soon as it is known. */
function follow(_view, { path: [domain, run] }, root, { store }) {
  if (!run) return;
  const end = store.watch("runs", () => {
    const row = [...root.querySelectorAll("li[data-run]")].find(({ dataset }) => dataset.run === run && (!dataset.domain || dataset.domain === domain));
    const button = row?.querySelector("button.run");
    if (!button) return;
    end();
    if (button.getAttribute("aria-expanded") !== "true") button.click();
    row.scrollIntoView({ block: "nearest" });
  });
}

export default {
  open: hosted({ id: "runs", classes: "runs", make: (root, { store, client }) => runsView(root, store, client), follow }),
};
