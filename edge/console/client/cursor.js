/** Compares cursors and subjects, as far as a client may know what they mean. */

// `1-<epoch>-<sequence>`, or of several shards `2-<epoch>.<sequence>~…`; mostly with a check behind each.
const placesOf = (cursor) => {
  const rest = cursor.slice(2);
  const parts = cursor.startsWith("2-") ? rest.split("~").map((part) => part.split(".")) : [rest.split("-")];
  return parts.map(([epoch, sequence]) => [epoch, Number.parseInt(sequence, 16)]);
};

/** How far into the stream a cursor is, as a number; of several shards the sum. */
export const sequenceOf = (cursor) => placesOf(cursor).reduce((sum, [, sequence]) => sum + sequence, 0);

/** Whether a cursor lies behind another, in one shard at least. One of other epochs, another life of a stream, always does. */
export function follows(next, last) {
  if (!last) return true;
  const old = new Map(placesOf(last));
  return placesOf(next).some(([epoch, sequence]) => !old.has(epoch) || sequence > old.get(epoch));
}

/** Whether a cursor lies behind another one of the same epochs. */
export function beyond(next, last) {
  const old = new Map(placesOf(last));
  return placesOf(next).every(([epoch]) => old.has(epoch)) && follows(next, last);
}

/** Whether all that one pattern names, another one names as well. */
export function covers(wide, narrow) {
  if (wide === narrow) return true;
  const [a, b] = [wide.split("."), narrow.split(".")];
  for (let at = 0; at < a.length; at += 1) {
    if (a[at] === ">") return b.length > at;
    if (at >= b.length || b[at] === ">") return false;
    if (a[at] !== "*" && a[at] !== b[at]) return false;
  }
  return a.length === b.length;
}

/** The fewest patterns that name all of some lists; null is everything. */
export function union(lists) {
  if (lists.some((list) => list === null)) return null;
  const all = [...new Set(lists.flat())];
  return all.filter((one) => !all.some((other) => other !== one && covers(other, one))).sort();
}
