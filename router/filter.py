"""This file is where a CEL expression decides about an event."""

from __future__ import annotations

from typing import Any

import cel

from router.errors import BadFilter
from router.event import Event

MAX_LENGTH = 2000


class Filter:
    """A compiled CEL expression over one event."""

    def __init__(self, text: str, program: Any) -> None:
        self.text = text
        self._program = program

    @classmethod
    def compile(cls, text: str) -> Filter:
        """Compiles; raises BadFilter."""
        if len(text) > MAX_LENGTH:
            raise BadFilter(f"a filter has at most {MAX_LENGTH} characters")
        try:
            return cls(text, cel.compile(text))
        except ValueError as fault:
            raise BadFilter(str(fault).splitlines()[0]) from None

    def matches(self, event: Event) -> bool:
        """Says whether the event passes; a field that is not there means no."""
        try:
            return self._program.execute(
                {"data": dict(event.data), "type": event.type, "subject": event.subject, "source": event.source}
            ) is True
        except (ValueError, TypeError, RuntimeError, KeyError):
            return False
