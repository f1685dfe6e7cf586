"""Finds, among the views of many sessions, those that let an event's subject and type through.

The views lie in an index by the tokens of their patterns, and below that by event type, and by whether they show partial
results. A view that is added, changed or
removed touches only its own places in the index; finding those for a subject and type costs what there is to be found. What
was found is kept for the next event of the same subject and type, until something changes that it rests on.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from edge.filters.evaluation import Wanted
from edge.view import View
from router.filter_scan import Needs
from router.patterns import Patterns

K = TypeVar("K", bound=Hashable)

# A view with more than so many pairs of a pattern and a type is kept by its patterns only, and its types are compared:
# 64 patterns and 128 types would take up a megabyte in the index.
MAX_PAIRS = 256
# Subjects and types whose views are remembered, and how many views those may be together: about 20 MB. The oldest goes first.
MAX_MATCHES = 20_000
MAX_REFERENCES = 1_000_000


class _Bucket(Generic[K]):
    """Keys that are found together. Of those in a `wide` one the view's types are compared."""

    __slots__ = ("keys", "matches", "needs", "wide")

    def __init__(self, wide: bool = False) -> None:
        self.keys: dict[K, None] = {}
        # What their filters look at, and how many look at that.
        self.needs: dict[Needs, int] = {}
        # The subjects and types whose matches rest on it.
        self.matches: dict[tuple[str, str, bool], None] = {}
        self.wide = wide

    def add(self, key: K, view: View) -> None:
        self.keys[key] = None
        if view.filter is not None:
            needs = view.filter.needs
            self.needs[needs] = self.needs.get(needs, 0) + 1

    def discard(self, key: K, view: View) -> None:
        del self.keys[key]
        if view.filter is not None:
            needs = view.filter.needs
            self.needs[needs] -= 1
            if not self.needs[needs]:
                del self.needs[needs]


class _Place(Generic[K]):
    """The keys below one pattern, by what the event's type must be."""

    __slots__ = ("any", "final", "typed", "wide")

    def __init__(self) -> None:
        self.any: _Bucket[K] = _Bucket()
        # Any but a partial result.
        self.final: _Bucket[K] = _Bucket()
        # By type, and whether partial results are left out.
        self.typed: dict[tuple[str, bool], _Bucket[K]] = {}
        self.wide: _Bucket[K] = _Bucket(wide=True)

    @property
    def is_empty(self) -> bool:
        return not (self.any.keys or self.final.keys or self.typed or self.wide.keys)

    def prune(self, view: View) -> None:
        """Removes the buckets that a view was the last in."""
        for kind in view.types or ():
            key = kind, not view.intermediate
            if key in self.typed and not self.typed[key].keys:
                del self.typed[key]

    def buckets(self, view: View) -> list[_Bucket[K]]:
        """The buckets that a view belongs to; they are made where they are missing."""
        if view.types is None:
            return [self.any if view.intermediate else self.final]
        if len(view.types) * len(view.patterns) > MAX_PAIRS:
            return [self.wide]
        return [self.typed.setdefault((kind, not view.intermediate), _Bucket()) for kind in view.types]

    def collect(self, kind: str, partial: bool, found: list[_Bucket[K]]) -> None:
        """Adds the buckets for a type."""
        if self.any.keys:
            found.append(self.any)
        if self.final.keys and not partial:
            found.append(self.final)
        if (bucket := self.typed.get((kind, False))) is not None:
            found.append(bucket)
        if not partial and (bucket := self.typed.get((kind, True))) is not None:
            found.append(bucket)
        if self.wide.keys:
            found.append(self.wide)


class Match(Generic[K]):
    """Whose views let a subject and type through, and what the filters of those look at."""

    __slots__ = ("buckets", "checked", "keys", "wanted")

    def __init__(self, buckets: list[_Bucket[K]], keys: tuple[K, ...], wanted: Wanted, checked: int) -> None:
        self.keys = keys
        self.wanted = wanted
        # What it rests on, and how many changes the index had seen when it was last known that there is no more.
        self.buckets = buckets
        self.checked = checked


class Matching(Generic[K]):
    """The views of sessions or feeds, each under a key of its own."""

    def __init__(self, most: int = MAX_MATCHES, most_references: int = MAX_REFERENCES) -> None:
        self._most = most
        self._most_references = most_references
        self.clear()

    def clear(self) -> None:
        """Removes all keys."""
        self._views: dict[K, View] = {}
        self._asked: Patterns[_Place[K]] = Patterns()
        # Of views that ask for no subjects. They have what is addressed to their own session, whatever its type, and
        # nothing that is addressed to another.
        self._broad: Patterns[_Place[K]] = Patterns()
        self._addressed: dict[str, _Bucket[K]] = {}
        self._known: dict[tuple[str, str, bool], Match[K]] = {}
        self._references = 0
        self._changes = 0

    def __len__(self) -> int:
        return len(self._views)

    def __iter__(self) -> Iterator[K]:
        return iter(self._views)

    def __contains__(self, key: object) -> bool:
        return key in self._views

    def put(self, key: K, view: View) -> None:
        """Adds a key with its view, or changes the view of one."""
        known = self._views.get(key)
        if known == view:
            return
        if known is not None:
            self.discard(key)
        self._views[key] = view
        self._changes += 1
        if view.session is not None:
            bucket = self._addressed.setdefault(view.session, _Bucket())
            bucket.add(key, view)
            self._changed(bucket)
        patterns = self._patterns(view)
        for pattern in view.patterns:
            place = patterns.get(pattern)
            if place is None:
                place = _Place()
                patterns.set(pattern, place)
            for bucket in place.buckets(view):
                bucket.add(key, view)
                self._changed(bucket)

    def discard(self, key: K) -> None:
        """Removes a key, if it is there."""
        view = self._views.pop(key, None)
        if view is None:
            return
        self._changes += 1
        if view.session is not None and (bucket := self._addressed.get(view.session)) is not None:
            bucket.discard(key, view)
            self._changed(bucket)
            if not bucket.keys:
                del self._addressed[view.session]
        patterns = self._patterns(view)
        for pattern in view.patterns:
            place = patterns.get(pattern)
            if place is None:
                continue
            for bucket in place.buckets(view):
                bucket.discard(key, view)
                self._changed(bucket)
            place.prune(view)
            if place.is_empty:
                patterns.remove(pattern)

    def _patterns(self, view: View) -> Patterns[_Place[K]]:
        return self._asked if view.session is None else self._broad

    def find(self, subject: str, kind: str, partial: bool = False) -> Match[K]:
        """Finds the keys whose views admit a subject and type (`View.admits`); their filters are left aside.

        `partial` says that the event is a partial result (`Event.partial`).
        """
        known = self._known.get((subject, kind, partial))
        if known is not None and known.checked == self._changes:
            return known
        # What it rests on is as it was, else it would have been forgotten; there may be more by now.
        buckets = self._buckets(subject, kind, partial)
        if known is not None and known.buckets == buckets:
            known.checked = self._changes
            return known
        return self._keep((subject, kind, partial), self._match(buckets, kind, partial))

    def _buckets(self, subject: str, kind: str, partial: bool) -> list[_Bucket[K]]:
        """The buckets that hold, all together, the keys for a subject and type, and no others but in wide ones."""
        found: list[_Bucket[K]] = []
        for place in self._asked.matching(subject):
            place.collect(kind, partial, found)
        if not subject.startswith("session."):
            for place in self._broad.matching(subject):
                place.collect(kind, partial, found)
        elif (bucket := self._addressed.get(subject.split(".", 2)[1])) is not None:
            found.append(bucket)
        return found

    def _match(self, buckets: list[_Bucket[K]], kind: str, partial: bool) -> Match[K]:
        if len(buckets) == 1 and not buckets[0].wide:
            return Match(buckets, tuple(buckets[0].keys), Wanted(needs=buckets[0].needs), self._changes)
        # A view may have several patterns that a subject falls under.
        keys: dict[K, None] = {}
        views: list[View] = []
        needs: set[Needs] = set()
        for bucket in buckets:
            if bucket.wide:
                fit = [(key, view) for key in bucket.keys if (view := self._views[key]).shows(kind, partial)]
                views += [view for _, view in fit]
                keys.update((key, None) for key, _ in fit)
            else:
                keys.update(bucket.keys)
                needs.update(bucket.needs)
        return Match(buckets, tuple(keys), Wanted(views, needs), self._changes)

    def _keep(self, key: tuple[str, str, bool], match: Match[K]) -> Match[K]:
        self._forget(key)
        self._known[key] = match
        self._references += len(match.keys)
        for bucket in match.buckets:
            bucket.matches[key] = None
        while len(self._known) > 1 and (len(self._known) > self._most or self._references > self._most_references):
            self._forget(next(iter(self._known)))
        return match

    def _changed(self, bucket: _Bucket[K]) -> None:
        for key in list(bucket.matches):
            self._forget(key)

    def _forget(self, key: tuple[str, str, bool]) -> None:
        match = self._known.pop(key, None)
        if match is not None:
            self._references -= len(match.keys)
            for bucket in match.buckets:
                bucket.matches.pop(key, None)
