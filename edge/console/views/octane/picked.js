/** Says in a line what was picked. */

import { number } from "../../format.js";

const triple = (values) => values.map((value) => number(value, 2)).join(", ");

/** `distance 6.28`, `node 1000020, distance 6.28`, `0.26, 0.66, 0.29`, `nothing there`; "" where the answer says nothing of it. */
export function picked(what, result) {
  if (!result || typeof result !== "object") return String(result ?? "");
  if (result.found === false) return "nothing there";
  if (what === "white_point") return Array.isArray(result.white_point) ? triple(result.white_point) : "";
  const node = what !== "focus" && result.node ? `node ${result.node.name ?? result.node.handle}` : "";
  const distance = Number.isFinite(result.distance) ? `distance ${number(result.distance, 2)}` : "";
  return [node, distance].filter(Boolean).join(", ");
}
