"""Caches the newest known value of each key of a bucket, in whatever order writes, reads and the watch report them.

A process learns of a key by the answer to its own write, by a read, and by the watch of the bucket. None of them waits for
the others: the answer to a write may arrive after the watch has reported what another process wrote over it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

# Deleted keys whose revision is remembered, so that an older value that is reported late does not bring them back. Reports
# are late by seconds at most; a few thousand deletions in that time are more than a bucket sees.
DELETED = 4096


class BucketCache(Generic[K, V]):
    """The newest known value of each key; only a higher revision is taken."""

    def __init__(self) -> None:
        self._values: dict[K, V] = {}
        self._revisions: dict[K, int] = {}
        self._deleted: OrderedDict[K, int] = OrderedDict()

    @property
    def values(self) -> Mapping[K, V]:
        """The keys that have a value."""
        return self._values

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[K]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K) -> V | None:
        """The value of a key; None where it has none."""
        return self._values.get(key)

    def revision(self, key: K) -> int:
        """The revision of what is known of a key, its deletion included; 0 where nothing is known."""
        return self._revisions.get(key) or self._deleted.get(key, 0)

    def put(self, key: K, value: V, revision: int) -> bool:
        """Takes a value where its revision is higher than what is known of the key; returns whether it is."""
        if revision <= self.revision(key):
            return False
        self._set(key, value, revision)
        return True

    def drop(self, key: K, revision: int) -> bool:
        """Takes a deletion at a revision, where the key's value is not newer; returns whether there was a value to drop.

        A bucket reports a key that vanished under the newest revision of the whole bucket, which may be the key's own.
        """
        if revision < self.revision(key):
            return False
        return self._remove(key, revision)

    def correct(self, key: K, value: V | None, revision: int, before: int) -> bool:
        """Takes what the bucket's leader answered to a read; returns whether it differs from what was known.

        `before` is the key's revision here when the read began. Where that has not changed, the answer is the truth even
        if it is older: the bucket may have been restored from a backup, or the key purged without a marker.
        """
        if self.revision(key) != before:
            return self.drop(key, revision) if value is None else self.put(key, value, revision)
        if value is None:
            known = self._remove(key, revision)
            return known or before != revision
        differs = before != revision or key not in self._values
        self._set(key, value, revision)
        return differs

    def clear(self) -> None:
        """Forgets everything: the bucket was deleted and created again, and its revisions begin again."""
        self._values.clear()
        self._revisions.clear()
        self._deleted.clear()

    def _set(self, key: K, value: V, revision: int) -> None:
        self._values[key] = value
        self._revisions[key] = revision
        self._deleted.pop(key, None)

    def _remove(self, key: K, revision: int) -> bool:
        known = self._values.pop(key, None) is not None
        self._revisions.pop(key, None)
        self._deleted.pop(key, None)
        if revision:
            self._deleted[key] = revision
            if len(self._deleted) > DELETED:
                self._deleted.popitem(last=False)
        return known
