/** Compares cursors and subjects, as far as a client may know what they mean. */

// `1-<epoch>-<sequence>`, or of several shards `2-<generation>.<first><width>` and for each three digits of its epoch and `width` of
// its sequence; mostly with a check behind it. Sequences stay texts, which have the order of the numbers.
const placesOf = (cursor) => {
  const rest = cursor.slice(2);
  if (!cursor.startsWith("2-")) return [rest.split("-")];
  const [generation, blocks = ""] = rest.split(".");
  const each = blocks.slice(2).match(new RegExp(`.{${3 + Number(blocks[1])}}`, "g")) ?? [];
  return each.map((block, index) => [generation + blocks[0] + index + block.slice(0, 3), block.slice(3).padStart(12, "-")]);
};

const DIGITS = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz~";

const numberOf = (text) => [...text].reduce((number, digit) => number * 64 + DIGITS.indexOf(digit), 0);

/** How far into the stream a cursor is, as a number; of several shards the sum. */
export const sequenceOf = (cursor) =>
  cursor.startsWith("2-")
    ? placesOf(cursor).reduce((sum, [, sequence]) => sum + numberOf(sequence), 0)
    : Number.parseInt(placesOf(cursor)[0][1], 16);

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
