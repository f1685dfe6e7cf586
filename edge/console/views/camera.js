/** This file is where the live camera is shown. */

import { viewport } from "./viewport.js";

export function cameraView(root, store, client) {
  viewport(root, store, client, {
    picture: "camera",
    title: "Camera",
    topic: "cameras",
    path: "cameras",
    // A camera that is watched sends many pictures a second: ten silent seconds mean that the socket is dead.
    silence: 10_000,
    empty: {
      title: "No camera yet",
      explanation: "A camera appears here as soon as its actor runs. Without hardware it shows a simulated picture, and says so.",
      command: "callboard actor camera",
    },
    status: (device, { phase, stale }) => {
      if (device.status === "failed") return ["Failed", "bad"];
      if (phase === "paused") return ["Paused", "quiet"];
      if (phase !== "open") return ["Connecting", "warn"];
      return stale ? ["No picture", "warn"] : ["Live", "ok"];
    },
  });
}
