"""Describes which events a session sees: subject patterns, event types, a CEL filter.

A view is a value: sessions that ask for the same share one feed, so that the question is put once per event.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from router.event import Event
from router.filter import Filter
from router.record import Record
from router.subject import check_pattern, common, contains, distinct, escape, matches

# A reader of 64 patterns is served by 64 subscriptions; more should be said with wildcards and a filter.
MAX_PATTERNS = 64
MAX_TYPES = 128

ALL = (">",)


@dataclass(frozen=True)
class View:
    """What one session may see. `session` is set where it asked for no subjects: then it also gets what is addressed to it.

    `owner` is set where there is a filter: the principal on whose budget it is evaluated.
    """

    patterns: tuple[str, ...]
    types: frozenset[str] | None = None
    filter_text: str | None = None
    session: str | None = None
    intermediate: bool = True
    owner: str | None = None
    filter: Filter | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(
        cls,
        session_id: str,
        subjects: list[str] | None,
        types: list[str] | None,
        filter_text: str | None,
        intermediate: bool = True,
        granted: tuple[str, ...] | None = None,
        owner: str | None = None,
    ) -> View:
        """Builds a view from what a client asked for; raises BadPattern or BadFilter.

        A session that asked for no subjects sees what is granted; None stands for everything.
        """
        patterns = distinct(check_pattern(pattern) for pattern in subjects) if subjects else ALL
        if not subjects and granted is not None:
            patterns = distinct((*granted, f"session.{escape(session_id)}.>"))
        return cls(
            patterns=patterns,
            types=frozenset(types) if types else None,
            filter_text=filter_text or None,
            session=None if subjects else escape(session_id),
            intermediate=intermediate,
            owner=owner if filter_text else None,
            filter=Filter.compile(filter_text) if filter_text else None,
        )

    def within(self, granted: tuple[str, ...]) -> View:
        """The same view for a reader to whom only this is granted; itself where that leaves nothing out."""
        own = f"session.{self.session}.>"
        allowed = granted if self.session is None else distinct((*granted, own))
        if all(contains(allowed, pattern) for pattern in self.patterns):
            return self
        # A reader that may read nothing of it gets a pattern that no event has: two tokens, where a subject has three.
        return replace(self, patterns=common(self.patterns, allowed) or ("nothing.granted",))

    def admits(self, subject: str, kind: str, partial: bool = False) -> bool:
        """Says whether subject and type alone let an event through; this part may be remembered per subject and type.

        `partial` says that the event is a partial result (`Event.partial`), which a view may leave out.
        """
        if self.session is not None and subject.startswith("session."):
            # What is addressed to a session is for it alone, whatever its types.
            return subject.split(".", 2)[1] == self.session
        if self.patterns != ALL and not any(matches(pattern, subject) for pattern in self.patterns):
            return False
        return self.shows(kind, partial)

    def shows(self, kind: str, partial: bool) -> bool:
        """Says whether events of a type are among those that were asked for."""
        return (self.intermediate or not partial) and (self.types is None or kind in self.types)

    def passes(self, event: Event) -> bool:
        """Says whether the CEL filter lets an event through."""
        return self.filter is None or self.filter.matches(event)

    def accepts(self, record: Record) -> bool:
        """Says whether this view shows an event."""
        event = record.event
        return event is not None and self.admits(record.subject, event.type, event.partial) and self.passes(event)

    @property
    def dynamic(self) -> bool:
        """Whether the event's data must be looked at, and not only its subject and type."""
        return self.filter is not None

    def describe(self) -> dict[str, Any]:
        return {"subjects": list(self.patterns) if self.session is None else None, "filter": self.filter_text}


@dataclass(frozen=True, slots=True)
class Pace:
    """How much a client wants to see: leaving out what is superseded, and at most so many writes a second."""

    conflate: bool = False
    max_rate: float | None = None


FULL = Pace()
