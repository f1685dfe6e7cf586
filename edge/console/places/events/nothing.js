/** Says that no event has come yet, and how to publish one. */

import { absence } from "../../views/absence.js";

/** `base` is the server's address. */
export const noEvents = (base) => absence("stream", {
  title: "No event has come yet",
  explanation: "Publish one and see it arrive, here and at every other subscriber.",
  command: `curl -X POST ${base}/events -H 'Content-Type: application/json' -d '{"subject":"agent.hello.progress","type":"progress","data":{"progress":0.5,"message":"Hello"}}'`,
});
