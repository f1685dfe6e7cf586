"""Tells a running command who called it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

# The edge sets this header of a command to the principal's name, and passes none on that a client sent.
PRINCIPAL_HEADER = "Callboard-Principal"

_caller: ContextVar[str | None] = ContextVar("caller", default=None)


def caller() -> str | None:
    """The name of the principal who called the running command; None where the caller gave none."""
    return _caller.get()


@contextlib.contextmanager
def calling(name: str | None) -> Iterator[None]:
    """Lets `caller` answer that name inside the block."""
    token = _caller.set(name)
    try:
        yield
    finally:
        _caller.reset(token)
