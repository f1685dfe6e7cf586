"""Writes wait in order while NATS is away, within their limit, and one that is refused does not hold up the next."""

from __future__ import annotations

import asyncio
import contextlib

from actors.camera.recording.writes import PendingWrite, WriteQueue
from router.errors import Refused, Timeout
from tests.waiting import eventually


class Away:
    """A store that is away for so many tries, and refuses some names."""

    def __init__(self, tries: int = 0, refused: frozenset[str] = frozenset()) -> None:
        self.tries = tries
        self.refused_names = refused
        self.stored: list[str] = []
        self.refused: list[PendingWrite] = []

    def write(self, name: str, size: int = 0, owner: str = "", n: int = 0) -> PendingWrite:
        async def run() -> None:
            if name in self.refused_names:
                raise Refused(503, 10077, "maximum bytes exceeded")
            if self.tries:
                self.tries -= 1
                raise Timeout
            self.stored.append(name)

        return PendingWrite(run, size, owner, n)

    async def note(self, write: PendingWrite, refusal: Refused) -> None:
        self.refused.append(write)


@contextlib.asynccontextmanager
async def running(queue: WriteQueue):  # type: ignore[no-untyped-def]
    task = asyncio.ensure_future(queue.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_waited_is_stored_in_order_once_the_store_is_back() -> None:
    away = Away(tries=2)
    queue = WriteQueue(away.note)
    for name in ("one", "two", "three"):
        queue.add(away.write(name))

    async with running(queue):
        assert await queue.drained(20)

    assert away.stored == ["one", "two", "three"] and not away.refused


async def test_more_than_the_limit_has_no_room_until_something_is_stored() -> None:
    away = Away()
    queue = WriteQueue(away.note, most=100)
    queue.add(away.write("one", size=80))
    assert queue.has_room(20) and not queue.has_room(21)

    async with running(queue):
        await eventually(lambda: queue.has_room(100))


async def test_a_refused_write_is_told_and_the_others_of_its_file_can_be_discarded() -> None:
    away = Away(refused=frozenset({"full"}))
    queue = WriteQueue(away.note)
    for write in (
        away.write("full", 10, "a", 1),
        away.write("later", 10, "a", 2),
        away.write("end", 0, "a"),
        away.write("other", 10, "b", 1),
    ):
        queue.add(write)
    queue.discard("b")

    assert await queue.drain(20)

    assert [write.owner for write in away.refused] == ["a"] and away.stored == ["later", "end"]
    assert queue.has_room(32 * 1024 * 1024)


async def test_a_store_that_stays_away_does_not_hold_up_the_end() -> None:
    away = Away(tries=10**9)
    queue = WriteQueue(away.note)
    queue.add(away.write("one"))

    assert not await queue.drain(0.1) and not await queue.drained(0.1)
