"""Reads the server's permission violations: refused publishes, and subscriptions, which are asked for again.

A server whose configuration is loaded again takes subscriptions away that are no longer allowed and says so in one line; the
connection stays, and nothing tells the client when the right is given back. So what was refused is asked for again, at
growing intervals, until it is granted.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import nats.errors

from router.errors import Forbidden
from router.nats.request import OpenAsk
from router.timing import full_jitter

if TYPE_CHECKING:
    from router.nats.client import NatsClient

log = logging.getLogger(__name__)

# From half a second to five: an operator who gives a right back sees it used at once; a right that is never given costs
# the server a line in its log so often.
MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.5, 5.0

# …for Subscription to "live.ev.>" | … to "cmd.x" using queue "q" | … to "live.ev.>" (sid "7"), the last after a reload.
_VIOLATION = re.compile(
    r'permissions violation for subscription to "([^"]+)"(?: using queue "([^"]+)")?(?: \(sid "?(\d+)"?\))?',
    re.IGNORECASE,
)

# …for Publish to "ev.x.y", to which the publisher gets no answer.
_PUBLISH = re.compile(r'permissions violation for publish to "([^"]+)"', re.IGNORECASE)
# So many subjects are kept of what was refused; which stream is meant is all that is read off them.
MAX_SUBJECTS = 64
TELL_SECONDS = 10.0


class RefusedPublishes:
    """The subjects that this user tried to publish to and may not, newest last, until somebody finds them allowed again."""

    def __init__(self) -> None:
        self.subjects: dict[str, None] = {}
        # Called for messages sent without a request each, with the subject in lower case: they fail what was sent to it and return
        # the subject as it was sent, or None where they have sent nothing there.
        self.senders: list[Callable[[str], str | None]] = []
        self.listener: Callable[[str], None] | None = None
        self._told = float("-inf")

    def note(self, said: str, asked: Mapping[OpenAsk, str]) -> bool | None:
        """Takes an error of the server and fails the requests that it is about.

        `asked` has the subject of each open request. Returns None where the error is about no publish, True where it is to
        be logged.
        """
        match = _PUBLISH.search(said)
        if match is None:
            return None
        # nats-py hands the text on in lower case.
        subject, lower = match[1], match[1].lower()
        for ask, own in tuple(asked.items()):
            if own.lower() == lower:
                subject = own
                if not ask.done():
                    ask.set_exception(Forbidden(own))
        for refuse in self.senders:
            subject = refuse(lower) or subject
        self.subjects[subject] = None
        if len(self.subjects) > MAX_SUBJECTS:
            del self.subjects[next(iter(self.subjects))]
        if self.listener is not None:
            self.listener(subject)
        # Keys of a bucket differ with each write, and a process may write many times a second.
        now = time.monotonic()
        if now - self._told < TELL_SECONDS:
            return False
        self._told = now
        return True

    def allowed(self, subjects: Iterable[str]) -> None:
        """Forgets subjects."""
        for subject in subjects:
            self.subjects.pop(subject, None)


class RefusedSubscriptions:
    """The subscriptions of one connection that the server does not allow just now."""

    def __init__(self, wire: NatsClient, granted: Callable[[], None]) -> None:
        """`granted` is called when something that was refused is heard again; what was published meanwhile was not."""
        self._wire = wire
        self._granted = granted
        self._subjects: dict[int, str] = {}
        # Those refused since the last time that all were asked for.
        self._again: set[int] = set()
        self._asking: asyncio.Task[None] | None = None

    @property
    def subjects(self) -> list[str]:
        """The subjects that are refused, sorted."""
        return sorted(set(self._subjects.values()))

    def note(self, said: str) -> bool | None:
        """Takes an error of the server: None where it is about no subscription, True where one is refused anew."""
        match = _VIOLATION.search(said)
        if match is None:
            return None
        subject, queue, sid = match[1], match[2] or "", match[3]
        # By text where the server names no number. nats-py's parser hands the text on in lower case in some versions.
        found = [
            number
            for number, one in self._wire._subs.items()
            if (sid is not None and number == int(sid))
            or (sid is None and one._subject.lower() == subject.lower() and (one._queue or "").lower() == queue.lower())
        ]
        fresh = [number for number in found if number not in self._subjects]
        for number in found:
            self._subjects[number] = self._wire._subs[number]._subject
        self._again.update(found)
        if self._subjects and (self._asking is None or self._asking.done()):
            self._asking = asyncio.create_task(self._ask_again(), name="nats permissions")
        return bool(fresh)

    def forget(self) -> None:
        """Takes all for granted: on a new connection the server is asked for everything anew."""
        self._subjects.clear()

    def close(self) -> None:
        """Asks no more."""
        if self._asking is not None:
            self._asking.cancel()

    async def _ask_again(self) -> None:
        tries = 0
        while self._subjects:
            tries += 1
            pause = min(MIN_PAUSE_SECONDS * 2.0 ** min(tries - 1, 10), MAX_PAUSE_SECONDS)
            await asyncio.sleep(pause / 2 + full_jitter(1, pause / 2, pause / 2))
            # Subscriptions that were ended meanwhile are not repeated.
            for number in [number for number in self._subjects if number not in self._wire._subs]:
                del self._subjects[number]
            if not self._wire.is_connected:
                continue
            waiting = dict(self._subjects)
            self._again.clear()
            try:
                for number in waiting:
                    await self._wire.resubscribe(number)
                # A refusal comes before the pong.
                await self._wire.round_trip(5)
            except (nats.errors.Error, OSError, TimeoutError):
                continue
            back = [number for number in waiting if number in self._subjects and number not in self._again]
            for number in back:
                del self._subjects[number]
            if back:
                log.warning(
                    "NATS accepts the subscriptions again", extra={"subjects": sorted({waiting[one] for one in back})}
                )
                self._granted()
