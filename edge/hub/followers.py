"""Passes every event that one process hears to other parts of it, so that they need no subscription of their own."""

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
    heard: Callable[[Record], None]
    doubted: Callable[[], None]


class Followers:
    """The parts of a process that want all events; while there is one, `>` is the only subscription of the process."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._followers: list[_Callbacks] = []

    def hear(self, record: Record) -> None:
        """Passes an event on."""
        for follower in self._followers:
            follower.heard(record)

    def doubt(self) -> None:
        """Says that some events up to now may not have been heard, nor ever will be."""
        for follower in self._followers:
            follower.doubted()

    async def follow(self, heard: Callable[[Record], None], doubted: Callable[[], None]) -> Following:
        """Calls heard(record) for each event from here on, in order and from the read loop; both must not block.

        `doubted` is called where events may have been missed. Raises BrokerError.
        """
        await self._live.want(EVERYTHING)
        callbacks = _Callbacks(heard, doubted)
        self._followers.append(callbacks)
        return Following(self, callbacks)

    async def stop(self, callbacks: _Callbacks) -> None:
        """Ends what `follow` began."""
        self._followers.remove(callbacks)
        try:
            await self._live.unwant(EVERYTHING)
        except BrokerError as fault:
            log.info("the subscription to all events could not be taken back", extra={"fault": str(fault)})


class Following:
    """What one part of the process follows; `stop` ends it."""

    def __init__(self, followers: Followers, callbacks: _Callbacks) -> None:
        self._followers = followers
        self._callbacks = callbacks

    async def stop(self) -> None:
        """Hears nothing any more."""
        await self._followers.stop(self._callbacks)
