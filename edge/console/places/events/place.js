/** Says where events lie in the stream, and how places in it compare: in one shard by its sequences, of several each by itself. */

import { placesOf } from "../../../client/cursor.js";

const [OFFSET, PRIME] = [0x811c9dc5, 0x01000193];
const bytes = new TextEncoder();

/** Which of so many shards holds the events of a subject: the FNV-1a hash of its domain and entity, as the server has it. */
export function shardOf(subject, count) {
  let hash = OFFSET;
  for (const byte of bytes.encode(subject.split(".", 2).join(""))) hash = Math.imul(hash ^ byte, PRIME) >>> 0;
  return hash % count;
}

/** A place that a cursor names: everything up to it has been read. */
export class Place {
  #parts;

  constructor(cursor) {
    this.cursor = cursor;
    this.#parts = placesOf(cursor);
  }

  /** Where the event of a subject lies whose cursor this is: the epoch of its shard, and its sequence there. */
  own(subject) {
    return this.#parts[this.#parts.length > 1 ? shardOf(subject, this.#parts.length) : 0];
  }

  #at(epoch) {
    return this.#parts.find((part) => part[0] === epoch)?.[1];
  }

  /** Whether an event that lies there has been read. Of another generation nothing is known, and none has. */
  covers([epoch, sequence]) {
    return this.#at(epoch) >= sequence;
  }

  /** Whether both are of the same generation, and the other is not farther in any shard. */
  reaches(other) {
    return other.#parts.every((part) => this.covers(part));
  }

  isOf(other) {
    return other.#parts.some(([epoch]) => this.#at(epoch) !== undefined);
  }
}

/** Whether one event comes before another: in one shard by their places, else by their times. */
export function comesBefore(one, other) {
  const [[epoch, sequence], [otherEpoch, otherSequence]] = [one, other].map(({ cursor, subject }) => new Place(cursor).own(subject));
  return epoch === otherEpoch ? sequence <= otherSequence : Date.parse(one.timestamp) <= Date.parse(other.timestamp);
}

/** The sequence that a cursor of the only stream names. */
export const sequenceOf = (cursor) => Number.parseInt(placesOf(cursor)[0][1], 16);

/** Whether a text is a cursor, as far as a page may know. */
export const isCursor = (text) => /^1-[0-9a-f]{8}-[0-9a-f]{12}|^2-[^.]+\.[^.]/.test(text);
