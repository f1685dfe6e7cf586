/** Compares cursors and subjects, as far as a client may know what they mean. */

// `1-<epoch>-<sequence>`, or of several shards `2-<generation>.<first><width>` and for each three digits of its epoch and `width` of
// its sequence; mostly with a check behind it. Sequences stay texts, which have the order of the numbers.
export const placesOf = (cursor) => {
  const [, shards, width, blocks] = cursor.split(/^2-(\d+\..)(\d)([^.]*)/);
  if (!shards) return [cursor.slice(2).split("-")];
  return [...blocks.matchAll(`(...)(.{${width}})`)].map(([, life, sequence], index) => [shards + index + life, sequence.padStart(9, "-")]);
};

/** Whether a cursor lies behind another, in one shard at least. One of other epochs, another life of a stream, always does. */
export function follows(next, last) {
  if (!last) return true;
  const old = new Map(placesOf(last));
  return placesOf(next).some(([epoch, sequence]) => !(sequence <= old.get(epoch)));
}

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
