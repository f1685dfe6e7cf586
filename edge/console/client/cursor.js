/** Compares cursors and subjects, as far as a client may know what they mean. */

// `1-<epoch>-<sequence>`, or of several shards `2-<generation>.<first><width>` and for each three digits of its epoch and `width` of
// its sequence; mostly with a check behind it, whose first digit is the shard of the event. Sequences stay texts, which have the order
// of the numbers.
const SHARDS = /^2-(\d+\..)(\d)([^.]*)\.?(.?)/;
// Digits are - 0 to 9 A to Z a to z ~.
const value = (digit) => (digit > "z" ? 63 : (Number.parseInt(digit, 36) + 1 || 0) + 26 * (digit > "Z"));

/** The places that a cursor names, as pairs of a shard and a sequence there; of an event's cursor the one of the event. */
export function placesOf(cursor, ofEvent) {
  const [, shards, width, blocks, own] = cursor.match(SHARDS) ?? [];
  if (!shards) return [cursor.slice(2).split("-")];
  const places = [...blocks.matchAll(`(...)(.{${width}})`)].map(([, life, sequence], index) => [shards + index + life, sequence.padStart(9, "-")]);
  // A cursor of one shard alone is that of an event in it.
  return ofEvent && own ? [places[value(own)] ?? places[0]] : places;
}

/** Those of some places that lie behind what is known of their shards. One in another life of a stream always does. */
export const behind = (places, known) => places.filter(([shard, sequence]) => !(sequence <= known.get(shard)));

/** Whether a cursor lies behind another, in one shard at least. */
export const follows = (next, last) => !last || behind(placesOf(next), new Map(placesOf(last))).length > 0;

/** Whether all that one pattern names, another one names as well. */
export function covers(wide, narrow) {
  const [a, b] = [wide.split("."), narrow.split(".")];
  const open = wide.endsWith(">");
  if (open) a.pop();
  return (open ? b.length > a.length : b.length === a.length) && a.every((token, at) => (token === "*" ? b[at] !== ">" : token === b[at]));
}

/** The fewest patterns that name all of some lists; null is everything. */
export function union(lists) {
  if (lists.includes(null)) return null;
  const all = [...new Set(lists.flat())];
  return all.filter((one) => !all.some((other) => other !== one && covers(other, one))).sort();
}
