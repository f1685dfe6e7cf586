/** Says in words what a pick found. */

import { number } from "../../format.js";

const triple = (values) => values.map((value) => number(value, 2)).join(", ");

/** `Material at 480, 270: node 1000020, distance 6.28`, from the result that `pick` answers. */
export function found(label, { x, y }, result) {
  const at = `${label} at ${x}, ${y}`;
  if (!result || result.found === false) return `${at}: nothing is there`;
  const { name, node, distance, white_point: white, applied, reason } = result;
  const facts = [
    name ?? (node && `node ${node.name ?? node.handle}`),
    white && `colour ${triple(white)}`,
    Number.isFinite(distance) && `distance ${number(distance, 2)}`,
  ].filter(Boolean);
  const outcome = applied === false ? `. Not applied: ${reason || "Octane does not say why"}` : applied ? ". Applied" : "";
  return `${at}${facts.length ? `: ${facts.join(", ")}` : ""}${outcome}`;
}
