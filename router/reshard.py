"""Puts the events into another number of streams while publishers and readers go on, and drops what is too old of the former ones.

A reshard makes the streams of the next generation, notes them in the layout's entry, seals the streams of the current one, which
from then on refuse every publish, and makes the next generation the current one. Each step finds out whether it is done already, so
a reshard that was interrupted is finished by the same call. Publishers that are refused by a sealed stream read the entry and publish
again; readers read the sealed streams to their ends first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from router import layout_entry, provisioning
from router.broker import SETTLE_SECONDS, Broker
from router.clock import wall
from router.cluster.ownership import before_shards
from router.cursor import parse_time
from router.earlier_ids import repeats_end
from router.errors import BadInput, BrokerError, Conflict, Forbidden, NoResponders, Refused, Timeout, Unsuitable
from router.layout import MAX_SHARDS, Generation, Shard, generation
from router.layout_entry import KEY, MAX_GENERATIONS, LayoutEntry
from router.nats.bucket import Bucket
from router.nats.error_codes import ErrorCode
from router.nats.stream import Stream, stream_names
from router.topology import EVENTS, LAYOUT, LEASES, event_stream, streams

log = logging.getLogger(__name__)

# Between two readings of where a sealed stream with replicas ends: longer than the second between two heartbeats of nats-server.
SETTLED_SECONDS = 1.5
SEAL_SECONDS = 30.0
# Within these a living edge refreshes its key, three times in 4 s (`router.cluster.role`).
REFRESH_SECONDS = 3.0
# A stream that holds so much of its limit, and not its first message, drops its oldest for want of room.
FULL_SHARE = 0.9

Tell = Callable[[str], None]


class BadReshard(BadInput):
    """the events cannot be put into that many streams now"""

    code = "bad_reshard"


class UnfinishedReshard(BrokerError):
    """the reshard was not finished"""

    def __init__(self, message: str, is_passing: bool) -> None:
        """`is_passing`: NATS did not answer, so the same call may finish it without anything being done about that."""
        super().__init__(message)
        self.is_passing = is_passing


def plan(entry: LayoutEntry, shards: int, window: float) -> LayoutEntry | None:
    """The entry while the events are put into so many streams; None where they are. Raises BadReshard.

    `window` is the dedup window in seconds.
    """
    if not 1 <= shards <= MAX_SHARDS:
        raise BadReshard(f"the events can be in 1 to {MAX_SHARDS} streams, not in {shards}")
    if entry.next is not None:
        if entry.next.shards != shards:
            raise BadReshard(
                f"a reshard to {entry.next.shards} is under way; finish it first: `callboard streams reshard {entry.next.shards}`"
            )
        return entry
    if entry.current.shards == shards:
        return None
    if len(entry.generations) >= MAX_GENERATIONS:
        raise BadReshard(
            f"events of {MAX_GENERATIONS} layouts are still kept; the oldest, {names(entry.layout.generations[0])}, goes once its "
            "newest event is older than CALLBOARD_EVENTS_MAX_AGE"
        )
    left = repeats_end(window) - (wall.now_ns() - entry.current.began) / 1e9
    if entry.current.began and left > 0:
        # A repeat is looked for in one former generation only.
        raise BadReshard(f"the last reshard was just now; the next is possible in {left:.0f} s")
    return layout_entry.begun(entry, shards)


def names(of: Generation) -> str:
    """The streams of a generation, for people."""
    first, last = of.shards[0].stream, of.shards[-1].stream
    return first if len(of.shards) == 1 else f"{first} to {last}"


class Reshard:
    """One reshard, begun or taken up again."""

    def __init__(self, broker: Broker, shards: int, tell: Tell) -> None:
        """`tell` is called with a line for each step."""
        self._broker = broker
        self._connection = broker.connection
        self._topology = broker.topology
        self._shards = shards
        self._tell = tell
        self._bucket = Bucket(broker.connection, LAYOUT)
        self._revision = 0
        # What has become of the events, for who is told that the reshard is not finished.
        self._standing = "nothing was changed"

    async def run(self) -> bool:
        """Does what is left to do; False where nothing was. Raises BadReshard, and UnfinishedReshard where NATS is the reason."""
        try:
            return await self._run()
        except asyncio.CancelledError:
            self._tell(f"interrupted; {self._standing}; {self._again}")
            raise
        except Forbidden as fault:
            rights = f"give the user the rights of `streams` in k8s/base/nats/accounts.conf; {self._again}"
            raise UnfinishedReshard(f"{fault}; {self._standing}; {rights}", is_passing=False) from None
        except Unsuitable as fault:
            raise UnfinishedReshard(f"{fault}; {self._standing}", is_passing=False) from None
        except BrokerError as fault:
            raise UnfinishedReshard(f"{fault}; {self._standing}; {self._again}", is_passing=True) from None

    @property
    def _again(self) -> str:
        return f"`callboard streams reshard {self._shards}` finishes it"

    async def _run(self) -> bool:
        before = await self._read()
        wanted = plan(before, self._shards, self._topology.dedup_window)
        if wanted is None:
            self._tell(f"the events are in {_count(self._shards)} already: {names(before.layout.current)}")
            return False
        assert wanted.next is not None
        current, following = before.layout.current, generation(wanted.next.number, wanted.next.shards)
        if before.next is None:
            await self._refuse_former_versions()
            await self._prove_rights(current)
            self._standing = (
                f"{names(following)} may have been made, and hold nothing; events go to {names(current)} as before"
            )
            try:
                await self._make(following)
            except Unsuitable:
                self._standing = "nothing was changed"
                raise
            await self._write(wanted)
        else:
            self._tell(f"a reshard to {_count(self._shards)} was begun; it is finished now")
            self._standing = f"{names(current)} may be sealed, and publishers wait then"
            await self._make(following)
        self._tell(f"sealing {names(current)}")
        self._standing = f"{names(current)} may be sealed, and publishers wait then"
        ends = [await self._seal(shard) for shard in current.shards]
        await self._write(layout_entry.finished(wanted, ends, wall.now_ns()))
        self._tell(f"new events go to {names(following)}; {names(current)} is kept until its events are too old")
        return True

    async def _read(self) -> LayoutEntry:
        declared = next(each for each in streams(self._topology) if each.name == self._bucket.stream)
        # A bucket that is there may still be electing its leader.
        await self._broker.layouts.read_leader(SETTLE_SECONDS)
        await provisioning.create(self._connection, declared)
        found = await self._bucket.latest(KEY)
        if found is None or found.value is None:
            self._revision = 0 if found is None else found.revision
            return LayoutEntry()
        self._revision = found.revision
        try:
            return layout_entry.parse(found.value)
        except ValueError as fault:
            raise Unsuitable(str(fault)) from None

    async def _refuse_former_versions(self) -> None:
        """Raises BadReshard while an edge runs whose readers would wait for ever for the events of other streams."""
        try:
            found = await before_shards(Bucket(self._connection, LEASES), REFRESH_SECONDS)
        except (Forbidden, NoResponders, Refused):
            self._tell("whether edges of former versions run cannot be read; those would find no new events")
            return
        if found:
            raise BadReshard(
                f"edges of a former version run, whose readers would get no new events: {', '.join(found)}; update or stop them first"
            )

    async def _prove_rights(self, current: Generation) -> None:
        """Raises Forbidden where the streams could not be sealed later, when publishers already wait."""
        for shard in current.shards:
            stream = Stream(self._connection, shard.stream)
            try:
                await stream.update((await stream.info())["config"])
            except Refused as refusal:
                if refusal.err_code != ErrorCode.STREAM_NOT_FOUND:
                    raise

    async def _write(self, entry: LayoutEntry) -> None:
        try:
            self._revision = await self._bucket.update(KEY, msgspec.json.encode(entry), self._revision)
        except Conflict:
            raise BadReshard("somebody else changes the layout now; run it again to see what is left to do") from None

    async def _make(self, following: Generation) -> None:
        """Makes the streams of the next generation; none of them stays where one cannot be made. Raises Unsuitable."""
        there = await stream_names(self._connection)
        made: list[Stream] = []
        for shard in following.shards:
            declared, stream = event_stream(shard, self._topology), Stream(self._connection, shard.stream)
            if shard.stream in there:
                # Left by a reshard that was interrupted, perhaps to another number.
                await stream.update(declared.desired)
                continue
            self._tell(f"making {shard.stream}")
            try:
                await stream.create(declared.desired)
            except Refused as refusal:
                for each in made:
                    await each.remove()
                raise Unsuitable(_why(shard, refusal)) from None
            made.append(stream)

    async def _seal(self, shard: Shard) -> int:
        """Seals a stream; returns its last sequence. Raises Timeout."""
        stream = Stream(self._connection, shard.stream)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SEAL_SECONDS
        while True:
            try:
                info = await stream.info()
                if not info["config"].get("sealed"):
                    await stream.update({**info["config"], "sealed": True})
                if (end := await self._end(stream)) is not None:
                    return end
                fault: BrokerError = Timeout("its leader has changed, or too few of its replicas answer")
            except Refused as refusal:
                if refusal.err_code == ErrorCode.STREAM_NOT_FOUND:
                    log.error("stream of events is missing; it ends at 0", extra={"stream": shard.stream})
                    return 0
                fault = refusal
            except Forbidden:
                raise
            except Timeout as timeout:
                fault = timeout
            if loop.time() > deadline:
                raise Timeout(f"{shard.stream} could not be sealed: {fault}") from None
            await asyncio.sleep(0.2)

    async def _end(self, stream: Stream) -> int | None:
        """The last sequence of a sealed stream; None where it may yet become another."""
        before = await stream.info()
        if before["config"].get("num_replicas", 1) > 1:
            await asyncio.sleep(SETTLED_SECONDS)
        return settled_end(before, await stream.info())


def settled_end(before: dict[str, Any], after: dict[str, Any]) -> int | None:
    """Where a sealed stream ends, by two descriptions of it that are `SETTLED_SECONDS` apart; None where that is not certain.

    With replicas a leader refuses publishes once it is sealed, but stores what it had proposed before as soon as a majority has it.
    So it must lead all the while, and hear of a majority. A server that becomes the leader before it has learnt of the seal takes
    publishes meanwhile.
    """
    last: int = after["state"]["last_seq"]
    if not (before["config"].get("sealed") and after["config"].get("sealed")) or before["state"]["last_seq"] != last:
        return None
    replicas = after["config"].get("num_replicas", 1)
    if replicas == 1:
        return last
    cluster = after.get("cluster") or {}
    if cluster.get("leader") != (before.get("cluster") or {}).get("leader"):
        return None
    silence = SETTLED_SECONDS * 1e9
    # 0 is said of one that was never heard of.
    heard = sum(0 < each.get("active", 0) < silence for each in cluster.get("replicas") or ())
    return last if 1 + heard > replicas // 2 else None


async def drop_old(broker: Broker, tell: Tell = lambda _line: None) -> list[str]:
    """Deletes the former generations whose newest event is too old, oldest first; returns their streams. Raises BrokerError.

    A sealed stream does not drop its old events itself. Where events have no age limit, a generation goes once the one after it
    drops its oldest events for want of room. The entry is changed before the streams are deleted, and what an interrupted call
    has left of them goes with the next.
    """
    bucket = Bucket(broker.connection, LAYOUT)
    entry = await broker.layouts.read_leader()
    while len(entry.generations) > 1 and await _is_over(
        broker, entry.layout.generations[0], entry.layout.generations[1]
    ):
        found = await bucket.latest(KEY)
        if found is None or found.value is None or layout_entry.parse(found.value) != entry:
            break
        entry = layout_entry.without(entry, entry.generations[0].number)
        try:
            await bucket.update(KEY, msgspec.json.encode(entry), found.revision)
        except Conflict:
            break
    dropped = sorted(name for name in await stream_names(broker.connection) if _is_left(name, entry))
    for name in dropped:
        await Stream(broker.connection, name).remove()
        tell(f"{name}: deleted, its events are too old")
        log.warning("stream of events is deleted; its events are too old", extra={"stream": name})
    return dropped


async def _is_over(broker: Broker, oldest: Generation, following: Generation) -> bool:
    states = [await _info(broker, shard) for shard in oldest.shards]
    held = [info["state"] for info in states if info is not None and info["state"]["messages"]]
    if not held:
        return True
    if age := broker.topology.events_max_age:
        newest = max(parse_time(state["last_ts"]).timestamp() for state in held)
        return wall.now_ns() / 1e9 - newest > age
    after = [await _info(broker, shard) for shard in following.shards]
    return all(info is not None and _drops(info) for info in after)


def _drops(info: dict[str, Any]) -> bool:
    limit, state = info["config"].get("max_bytes", -1), info["state"]
    return bool(limit > 0 and state["first_seq"] > 1 and state["bytes"] > FULL_SHARE * limit)


def _is_left(name: str, entry: LayoutEntry) -> bool:
    """Whether a stream is of a generation that was dropped."""
    oldest = entry.generations[0].number
    if name == EVENTS:
        return oldest > 0
    prefix, _, rest = name.partition("_")
    number = rest.partition("_")[0]
    return prefix == EVENTS and number.isdecimal() and int(number) < oldest


async def _info(broker: Broker, shard: Shard) -> dict[str, Any] | None:
    try:
        return await Stream(broker.connection, shard.stream).info()
    except Refused as refusal:
        if refusal.err_code != ErrorCode.STREAM_NOT_FOUND:
            raise
        return None


def _count(shards: int) -> str:
    return "one stream" if shards == 1 else f"{shards} streams"


def _why(shard: Shard, refusal: Refused) -> str:
    why = f"stream {shard.stream} cannot be made: {refusal.description}"
    if refusal.err_code != ErrorCode.STORAGE_RESOURCES_EXCEEDED and "storage" not in refusal.description:
        return f"{why}; see the limits of JetStream, and of the account"
    return (
        f"{why}; the former streams keep their room until their events are too old: lower CALLBOARD_EVENTS_MAX_BYTES, or give JetStream "
        "more storage"
    )
