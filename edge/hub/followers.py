"""Passes every event that one process receives to other parts of it, so that they need no subscription of their own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

from router.errors import BrokerError
from router.live import Live
from router.record import Record

log = logging.getLogger(__name__)

EVERYTHING = (">",)


class _Callbacks(NamedTuple):
    receive: Callable[[Record], None]
    suspect: Callable[[], None]


class Followers:
    """The parts of a process that want all events; while there is one, `>` is the only subscription of the process."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._followers: list[_Callbacks] = []

    def receive(self, record: Record) -> None:
        """Passes an event on."""
        for follower in self._followers:
            follower.receive(record)

    def suspect(self) -> None:
        """Says that some events up to now may not have been received, nor ever will be."""
        for follower in self._followers:
            follower.suspect()

    async def follow(self, receive: Callable[[Record], None], suspect: Callable[[], None]) -> Following:
        """Calls receive(record) for each event from here on, in order and from the read loop; both must not block.

        `suspect` is called where events may have been missed. Raises BrokerError.
        """
        await self._live.want(EVERYTHING)
        callbacks = _Callbacks(receive, suspect)
        self._followers.append(callbacks)
        return Following(self, callbacks)

    async def stop(self, callbacks: _Callbacks) -> None:
        """Ends what `follow` began."""
        self._followers.remove(callbacks)
        try:
            await self._live.unwant(EVERYTHING)
        except BrokerError as fault:
            log.info(
                "the subscription to all events could not be ended; it ends with the connection",
                extra={"fault": str(fault)},
            )


class Following:
    """What one part of the process follows; `stop` ends it."""

    def __init__(self, followers: Followers, callbacks: _Callbacks) -> None:
        self._followers = followers
        self._callbacks = callbacks

    async def stop(self) -> None:
        """Receives nothing any more."""
        await self._followers.stop(self._callbacks)
