"""One request that is settled by a callback: for senders that have no task to wait in, which would cost more than the request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from router.errors import BrokerError, Timeout
from router.nats.counters import figures
from router.nats.headers import Reply


class OpenAsk(Protocol):
    """A request under way, as a future is, which fails where NATS refuses its subject or is lost."""

    def done(self) -> bool:
        """Whether it is settled."""

    def set_exception(self, exception: BrokerError, /) -> None:
        """Makes it fail."""


class CallbackRequest:
    """A request under way. `settle` is called once: with the answer, or with what is wrong."""

    __slots__ = ("_ended", "_settle", "address", "begun", "subject")

    def __init__(
        self,
        subject: str,
        begun: float,
        settle: Callable[[Reply | BrokerError], None],
        ended: Callable[[CallbackRequest], None],
    ) -> None:
        """`ended(request)` is called before it is settled, or dropped."""
        self.subject = subject
        self.begun = begun
        # Where it is answered.
        self.address = ""
        self._settle: Callable[[Reply | BrokerError], None] | None = settle
        self._ended = ended

    def done(self) -> bool:
        """Whether it is settled or dropped."""
        return self._settle is None

    def answered(self, _subject: str, _reply: str, payload: bytes, headers: bytes) -> None:
        """Takes the answer."""
        self._end(Reply(payload, headers))

    def expire(self) -> None:
        """Fails because no answer came in time."""
        figures.unanswered += 1
        self._end(Timeout(f"no answer on {self.subject}"))

    def set_exception(self, exception: BrokerError, /) -> None:
        """Fails."""
        self._end(exception)

    def drop(self) -> None:
        """Settles it with nothing: whoever sent it does not wait for it any more."""
        if self._settle is not None:
            self._settle = None
            self._ended(self)

    def _end(self, outcome: Reply | BrokerError) -> None:
        settle = self._settle
        if settle is not None:
            self.drop()
            settle(outcome)
