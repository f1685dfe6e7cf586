/** Compares cursors and subjects, as far as a client may know what they mean. */

// `1-<epoch>-<sequence>`, and mostly `-<check>` behind it.
const placeOf = (cursor) => {
  const [, epoch, sequence] = cursor.split("-");
  return { epoch, sequence };
};

/** The place in the stream that a cursor names, as a number. */
export const sequenceOf = (cursor) => Number.parseInt(placeOf(cursor).sequence, 16);

/** Whether a cursor lies behind another. One of another epoch, another life of the stream, always does. */
export function follows(next, last) {
  if (!last) return true;
  const [a, b] = [placeOf(next), placeOf(last)];
  return a.epoch !== b.epoch || a.sequence > b.sequence;
}

/** Whether a cursor lies behind another one of the same epoch. */
export function beyond(next, last) {
  const [a, b] = [placeOf(next), placeOf(last)];
  return a.epoch === b.epoch && a.sequence > b.sequence;
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
