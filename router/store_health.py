"""Knows whether each stream takes writes now, so that a publisher is refused at once instead of after a timeout.

`router.store_probe` examines the streams; this keeps the result, and makes a trouble that may pass by itself, such as an
election, a failure only once it has lasted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from router import topology
from router.broker import Broker
from router.coalescing import until_multiple
from router.errors import Forbidden, NoResponders, StoreFailed, Timeout
from router.store_guard import CallbackGuard, StoreGuard, WriteGuards
from router.store_probe import GRACE_SECONDS, StoreProbe
from router.store_trouble import CODES, FORBIDDEN, OK, UNREACHABLE, WRITE_FAILED, Finding, Trouble
from router.topology import DeclaredStream

log = logging.getLogger(__name__)

# An examination costs three small requests per stream; while something is wrong there are more, to notice its end soon.
LOOK_SECONDS, SOON_SECONDS = 5.0, 1.0
# While all is well the streams take turns: EVENTS is examined each time, each other stream every sixth time. A publish that is
# left unanswered has all of them examined at once.
TURNS = 6
# Where the events are in more streams than this, these take turns too.
MAX_OFTEN = 4
# However many publishes fail, the streams are not examined more often.
MIN_PAUSE_SECONDS = 0.2
# A stream that fails by this evidence alone lets one publish pass as a trial so often.
TRIAL_SECONDS = 1.0

T = TypeVar("T")


class StoreHealth:
    """Which streams take writes, kept up to date while `run` runs."""

    def __init__(self, broker: Broker) -> None:
        self.looked = False
        self._broker = broker
        self._connection = broker.connection
        self._probe = StoreProbe(broker)
        self._troubles: dict[str, Trouble] = {}
        # What may pass by itself, and since when it is so.
        self._since: dict[str, float] = {}
        self._tried = float("-inf")
        self._due = asyncio.Event()
        self._turn = 0
        self._writes = WriteGuards(self._due.set)

    @property
    def recreated(self) -> Mapping[str, int]:
        """How often this process has created each missing stream again."""
        return self._probe.recreated

    @property
    def troubles(self) -> Mapping[str, Trouble]:
        """The streams that take no writes."""
        return self._troubles

    @property
    def writable(self) -> bool:
        """Whether every stream takes writes, by the last examination."""
        return self.looked and not self._troubles

    @property
    def waits(self) -> bool:
        """Whether something is wrong that may pass by itself, and has not lasted long enough to be a failure."""
        return bool(self._since.keys() - self._troubles.keys())

    @property
    def code(self) -> str:
        """`ok`, or the code of the most severe trouble."""
        codes = {trouble.code for trouble in self._troubles.values()}
        return next((code for code in CODES if code in codes), OK)

    def on_renewed(self, listener: Callable[[str], None]) -> None:
        """Calls listener(stream) where a stream was deleted and created again, by this process or another."""
        self._probe.on_renewed(listener)

    def describe(self) -> dict[str, Any]:
        """The code, and code and text for each stream that takes no writes."""
        streams = {each.stream: {"code": each.code, "text": each.text} for each in self._troubles.values()}
        return {"code": self.code, "streams": streams}

    def trouble(self, stream: str) -> Trouble | None:
        """Why a stream takes no writes; None where it does. EVENTS takes none where one of its shards does not."""
        if not self._troubles:
            return None
        if stream == topology.EVENTS:
            shards = self._broker.layout.current.shards
            found = next((self._troubles[each.stream] for each in shards if each.stream in self._troubles), None)
            return found or self._troubles.get("*")
        return self._troubles.get(stream) or self._troubles.get("*")

    def require(self, stream: str) -> None:
        """Raises StoreFailed where it is known that a stream takes no writes."""
        found = self.trouble(stream)
        if found is None:
            return
        now = asyncio.get_running_loop().time()
        if self._probe.is_stuck(stream) and found.code == WRITE_FAILED and now - self._tried >= TRIAL_SECONDS:
            self._tried = now
            return
        raise StoreFailed(found.code, found.stream, found.text)

    def guarding(self, stream: str) -> StoreGuard:
        """Guards a write to a stream: the block raises StoreFailed as soon as it is known that the stream takes none."""
        return self._writes.guard(stream)

    def guarding_call(self, stream: str, failed: Callable[[], None]) -> CallbackGuard:
        """Guards a write that no task waits for: calls `failed()` as soon as it is known that the stream takes none."""
        return CallbackGuard(self._writes, stream, failed)

    async def guard(self, stream: str, work: Awaitable[T]) -> T:
        """Awaits a write to a stream; as `guarding`."""
        with self._writes.guard(stream):
            return await work

    async def write(self, stream: str, send: Callable[[], Awaitable[T]]) -> T:
        """Sends a write to a stream that is answered or times out; as `guarding`. Raises StoreFailed."""
        self.require(stream)
        try:
            with self._writes.guard(stream):
                answer = await send()
        except (NoResponders, Timeout) as fault:
            if not isinstance(fault, Forbidden):
                self._broker.count_unanswered(stream)
            raise
        self._broker.unanswered.pop(stream, None)
        return answer

    async def run(self) -> None:
        """Examines all streams every few seconds, and at once after a publish was left unanswered, until cancelled."""
        self._broker.on_unanswered = self._due.set
        self._connection.refused_publishes.listener = self._refused
        unlisten = self._connection.on_reconnect(self._regained)
        loop = asyncio.get_running_loop()
        try:
            await self.look()
            while True:
                looked = loop.time()
                pause = SOON_SECONDS if self._troubles or self._since else until_multiple(LOOK_SECONDS)
                try:
                    async with asyncio.timeout(pause):
                        await self._due.wait()
                except TimeoutError:
                    pass
                await asyncio.sleep(looked + MIN_PAUSE_SECONDS - loop.time())
                is_well = not (self._troubles or self._since or self._due.is_set())
                self._due.clear()
                await self.look(streams=self._next_turn() if is_well else None)
        finally:
            unlisten()
            self._broker.on_unanswered = None
            self._connection.refused_publishes.listener = None

    def _refused(self, subject: str) -> None:
        # What an examination tries itself is refused too, and is no reason for another one.
        found = self.trouble(topology.stream_of(subject))
        if found is None or found.code != FORBIDDEN:
            self._due.set()

    def _regained(self) -> None:
        # Another server, or the same one after a restart: what failed before may work now.
        self._broker.unanswered.clear()
        self._due.set()

    def _next_turn(self) -> list[DeclaredStream]:
        self._turn += 1
        shards = self._broker.layout.current.shards
        often = {shard.stream for shard in shards} if len(shards) <= MAX_OFTEN else set()
        return [
            stream
            for place, stream in enumerate(topology.streams(self._broker.topology, self._broker.layout))
            if stream.name in often or (place + self._turn) % TURNS == 0
        ]

    async def look(self, active: bool = True, streams: Sequence[DeclaredStream] | None = None) -> None:
        """Examines all streams once, or these where nothing is known to be wrong with the others.

        If `active`, it writes to find out, and creates missing streams again where it may.
        """
        if not self._connection.connected:
            known = [Finding(trouble, True) for trouble in self._troubles.values() if trouble.stream != "*"]
            self._note([*known, Finding(Trouble("*", UNREACHABLE, "no connection to NATS"), False)])
            return
        if streams is None:
            streams = topology.streams(self._broker.topology, self._broker.layout)
        found = await asyncio.gather(*(self._probe.examine(stream, active) for stream in streams))
        self._note([each for each in found if each is not None])
        self.looked = True

    def _note(self, findings: list[Finding]) -> None:
        """Replaces what is known by what an examination found."""
        now = asyncio.get_running_loop().time()
        uncertain = [found.trouble.stream for found in findings if not found.certain]
        self._since = {stream: self._since.get(stream, now) for stream in uncertain}
        before = self._troubles
        self._troubles = {
            trouble.stream: trouble
            for trouble, certain in findings
            # What may pass by itself is a failure only once it has lasted, and stays one for as long as it does.
            if certain or trouble.stream in before or now - self._since[trouble.stream] >= GRACE_SECONDS
        }
        self._report(before)
        self._writes.fail(self.trouble)

    def _report(self, before: Mapping[str, Trouble]) -> None:
        for stream, trouble in self._troubles.items():
            if (known := before.get(stream)) is None or known.code != trouble.code:
                log.error(
                    "stream takes no writes; refusing publishers",
                    extra={"stream": stream, "code": trouble.code, "why": trouble.text},
                )
        for stream in before.keys() - self._troubles.keys():
            log.warning("stream takes writes again", extra={"stream": stream})
