"""Publishes events to JetStream and reads them: from a sequence on, or the newest of each subject."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Self

import msgspec

from router import provisioning, topology
from router.codec import encode, rfc3339
from router.cursor import epoch_of
from router.dedup import of_event
from router.errors import BrokerError, Conflict, Cut, Forbidden, NoResponders, Refused, Timeout, TooLarge, Unsuitable
from router.event import Event
from router.limits import largest_event
from router.nats.connection import Connection
from router.nats.error_codes import WRONG_LAST
from router.nats.headers import Reply, header
from router.nats.publisher import Publisher
from router.nats.refusals import Fate, fate
from router.nats.settings import BrokerSettings
from router.nats.stream import Ack, Stream
from router.publication import Publication
from router.record import Record
from router.subject import STORED
from router.topology import EVENTS, SECOND, TopologySettings

# 256 events or 1 MiB a page of replay: a page is what one slow reader may hold in memory.
PAGE_EVENTS = 256
PAGE_BYTES = 1024 * 1024
# One multi_last request answers for at most 1,024 subjects (413 above it).
MULTI_LAST_SUBJECTS = 1000
# nats-server elects no other leader before the others have not heard of this one for so long (`minElectionTimeout` of its Raft: 4 s).
ELECTION_NANOSECONDS = 4 * SECOND
# So often the connection may be lost under one message before that is taken for the message's doing.
MAX_CUTS = 5


class Page(NamedTuple):
    """A run of records in stream order; `more` says that the stream holds further ones."""

    records: list[Record]
    more: bool


@dataclass(frozen=True)
class StreamState:
    """How far EVENTS reaches. `first` is the oldest sequence kept, `last` the newest given out.

    `is_led` says that no other server can lead the stream by now: one that was paused or cut off takes itself for the leader
    still, and tells an older state.
    """

    epoch: str
    first: int
    last: int
    messages: int
    bytes: int
    is_led: bool = True


class Broker:
    """The seam to NATS for everything that deals in events."""

    def __init__(self, settings: BrokerSettings, name: str, topology: TopologySettings | None = None) -> None:
        self.connection = Connection(settings, name)
        self._events = Stream(self.connection, EVENTS)
        self._publisher: Publisher | None = None
        self.topology = topology or TopologySettings()
        # Publishes left unanswered since the last one that was answered, by stream; and a callback for each.
        self.unanswered: dict[str, int] = {}
        self.on_unanswered: Callable[[], None] | None = None
        # The subject that was acknowledged last, by stream.
        self.acknowledged: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self, *, apply: bool = True) -> None:
        """Connects and, where asked, makes the streams, or looks that they are there; raises Unreachable or Unsuitable."""
        await self.connection.open()
        if apply:
            try:
                await self._settle()
            except BaseException:
                await self.connection.close()
                raise
            # The memory stream is gone after a server's restart; the first process that comes back makes it again.
            self.connection.on_reconnect(self._reapply)

    async def _settle(self) -> None:
        if self.topology.apply_streams:
            await provisioning.apply(self.connection, self.topology)
        elif lacking := await provisioning.missing(self.connection, self.topology):
            raise Unsuitable(f"streams are missing: {', '.join(lacking)}; `callboard streams apply` makes them")

    async def _reapply(self) -> None:
        if self.topology.apply_streams:
            await provisioning.apply(self.connection, self.topology)
        else:
            await provisioning.restore(self.connection, self.topology)

    async def close(self) -> None:
        await self.connection.close()

    @property
    def publisher(self) -> Publisher:
        """Publishes many messages beside one another; all who use this broker share it."""
        if self._publisher is None:
            self._publisher = Publisher(self.connection)
        return self._publisher

    async def publish(
        self,
        event: Event,
        timeout: float = 10.0,
        *,
        dedup: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Ack:
        """Stores an event; returns once JetStream has acknowledged it.

        Tries again under the same name until `timeout` seconds are over: inside the dedup window a repeat is dropped. The
        name is `dedup` (see `router.dedup`), or follows from the event's source, subject and id. `headers` are stored with
        the event. Raises Timeout (whether it was stored is unknown) or Refused (it was not).
        """
        return await self.put(event, encode(event), timeout, dedup=dedup, headers=headers)

    @property
    def largest_event(self) -> int:
        """The most bytes an event may have as msgpack, on the server that is connected now."""
        return largest_event(self.connection.max_payload)

    async def put(
        self,
        event: Event,
        payload: bytes,
        timeout: float = 10.0,
        *,
        dedup: str | None = None,
        headers: Mapping[str, str] | None = None,
        await_right: bool = True,
    ) -> Ack:
        """Stores an event that is encoded already; as `publish`. Raises TooLarge for more than `largest_event`.

        Without `await_right` it raises Forbidden at once where NATS does not allow the subject.
        """
        if len(payload) > (limit := self.largest_event):
            raise TooLarge(len(payload), limit, "the event")
        publication = Publication(event)
        try:
            lines = {"Nats-Msg-Id": dedup or of_event(event), **(headers or {})}
            ack = await self.store(STORED + event.subject, payload, lines, timeout, await_right)
        except (Refused, Timeout) as fault:
            publication.failed(fault)
            raise
        publication.stored(ack)
        return ack

    async def store(
        self, subject: str, payload: bytes, headers: dict[str, str], timeout: float = 10.0, await_right: bool = True
    ) -> Ack:
        """Publishes bytes to whichever stream takes the subject, with retries under the same `Nats-Msg-Id`.

        Raises Refused where it is not stored (`router.nats.refusals`), and Timeout where that is unknown: Cut where the connection
        is lost each time, and another try would do the same. A right that is missing may be given within `timeout`; without
        `await_right` Forbidden is raised at once. Raises Conflict where `headers` name another last sequence of the subject than
        it has: of a repeat too, which is known for one only under the right sequence.
        """
        regained = self.connection.reconnects
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        pause = 0.05
        while True:
            left = deadline - loop.time()
            try:
                if not self.connection.up.is_set():
                    async with asyncio.timeout(max(left, 0.01)):
                        await self.connection.up.wait()
                reply = await self.connection.ask(subject, payload, headers, timeout=max(0.05, min(left, 3.0)))
                ack = _ack(reply.payload)
                stream = topology.stream_of(subject)
                self.unanswered.pop(stream, None)
                self.acknowledged[stream] = subject
                return ack
            except Refused as refusal:
                if fate(refusal) in (Fate.REFUSED, Fate.FULL):
                    raise
                if loop.time() + pause > deadline:
                    raise Timeout(
                        f"{subject} was not acknowledged within {timeout:g} s: {refusal.description}"
                    ) from None
            except Forbidden:
                if not await_right or loop.time() + pause > deadline:
                    raise
            except (Timeout, NoResponders, TimeoutError):
                self.count_unanswered(topology.stream_of(subject))
                if self.connection.reconnects - regained >= MAX_CUTS:
                    raise Cut(f"the connection was lost {MAX_CUTS} times while {subject} was sent") from None
                if loop.time() + pause > deadline:
                    raise Timeout(f"{subject} was not acknowledged within {timeout:g} s") from None
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, 0.5)

    def count_unanswered(self, stream: str) -> None:
        """Notes a publish that was not acknowledged though NATS is there."""
        if self.connection.connected:
            self.unanswered[stream] = self.unanswered.get(stream, 0) + 1
            if self.on_unanswered is not None:
                self.on_unanswered()

    async def frame(self, subject: str, frame: bytes) -> bool:
        """Sends one picture without an acknowledgement; False where NATS is away or the picture is too large."""
        if not self.connection.connected or len(frame) > self.connection.max_payload:
            return False
        try:
            await self.connection.send(subject, frame)
        except BrokerError:
            return False
        return True

    def stream(self, name: str) -> Stream:
        """One of the streams on this connection."""
        return Stream(self.connection, name)

    async def state(self) -> StreamState:
        """Reads how far EVENTS reaches, from its leader."""
        info = await self._events.info()
        state = info["state"]
        return StreamState(
            epoch=epoch_of(topology.EVENTS, info["created"]),
            first=state["first_seq"],
            last=state["last_seq"],
            messages=state["messages"],
            bytes=state["bytes"],
            is_led=_is_led(info.get("cluster") or {}),
        )

    async def read(
        self, pattern: str, after: int, limit: int = PAGE_EVENTS, since: datetime | None = None, upto: int = 0
    ) -> Page:
        """Reads events under one pattern that come after a sequence (or since a time), in stream order.

        Of a stream with copies any of them answers. `upto` is a sequence that the stream is known to have reached: a copy
        that has not come so far raises Timeout.
        """
        request: dict[str, Any] = {
            "batch": limit,
            "max_bytes": PAGE_BYTES,
            "next_by_subj": STORED + pattern,
        }
        if since is not None:
            request["start_time"] = rfc3339(int(since.timestamp() * 1_000_000_000))
        else:
            request["seq"] = after + 1
        run = await self._events.read_run(request, _record)
        page = Page(run.messages, run.left > 0)
        if upto and not page.more and self.topology.replicas > 1:
            last = page.records[-1].sequence if page.records else after
            if last < upto and await self._holds(pattern, last, upto):
                raise Timeout("the copy of the stream that answered is behind its leader")
        return page

    async def _holds(self, pattern: str, after: int, upto: int) -> bool:
        """Whether the stream's leader, and not just any copy, has an event under a pattern after one sequence, up to another."""
        try:
            message = await self._events.get_next(STORED + pattern, after)
        except Refused as refusal:
            if refusal.code != 404:
                raise Timeout("the stream's leader does not answer") from None
            return False
        return message is not None and message.sequence <= upto

    async def count(self, pattern: str, after: int) -> int:
        """Counts the events under one pattern that come after a sequence, without reading more than the first of them."""
        request = {"seq": after + 1, "batch": 1, "next_by_subj": STORED + pattern}
        run = await self._events.read_run(request, _record)
        return len(run.messages) + run.left

    async def latest(self, patterns: Sequence[str], upto: int | None = None) -> list[Record]:
        """Reads the newest event of every subject under the patterns, in stream order; with `upto` as of that sequence."""
        newest: dict[str, Record] = {}
        async for page in self.latest_pages(patterns, upto):
            newest |= {record.subject: record for record in page}
        return sorted(newest.values(), key=lambda record: record.sequence)

    async def latest_pages(
        self, patterns: Sequence[str], upto: int | None = None, most: int | None = None
    ) -> AsyncIterator[list[Record]]:
        """The same in pages of at most 1 MiB, in no order; of more subjects than one request may name, at most `most`.

        Without `upto` a subject may come again, with a newer event.
        """
        try:
            async for page in self._multi_last([STORED + pattern for pattern in patterns], upto):
                yield page
            return
        except Refused as refusal:
            if refusal.code != 413:
                raise
        subjects: set[str] = set()
        for pattern in patterns:
            subjects.update((await self._events.subjects(STORED + pattern)).subjects)
        ordered = sorted(subjects)[:most]
        for place in range(0, len(ordered), MULTI_LAST_SUBJECTS):
            async for page in self._multi_last(ordered[place : place + MULTI_LAST_SUBJECTS], upto):
                yield page

    async def _multi_last(self, subjects: list[str], upto: int | None) -> AsyncIterator[list[Record]]:
        request: dict[str, Any] = {"multi_last": subjects, "max_bytes": PAGE_BYTES}
        if upto:
            request["up_to_seq"] = upto
        while True:
            run = await self._events.read_run(request, _record)
            yield run.messages
            if not run.left or not run.messages:
                return
            request["seq"] = run.messages[-1].sequence + 1

    async def last_frame(self, subject: str) -> bytes | None:
        """Reads the latest picture of a track; None where there is none."""
        try:
            reply = await self.stream(topology.FRAMES).read_one({"last_by_subj": subject}, timeout=2)
        except BrokerError:
            return None
        return None if reply is None else reply.payload

    async def frame_subjects(self, pattern: str = "frame.>") -> list[str]:
        """Lists the tracks that have a recent picture."""
        return sorted((await self.stream(topology.FRAMES).subjects(pattern)).subjects)


def _record(reply: Reply) -> Record:
    sequence, subject = header(reply.headers, b"Nats-Sequence"), header(reply.headers, b"Nats-Subject") or ""
    return Record(int(sequence or 0), subject[len(STORED) :], reply.payload)


def _is_led(cluster: Mapping[str, Any]) -> bool:
    """Whether the leader that says this of its copies has heard of most of them since when another could have been elected.

    Of one that it has never heard of it says that it was active 0 ns ago.
    """
    copies = cluster.get("replicas") or []
    heard: int = sum(not copy.get("offline") and 0 < copy["active"] < ELECTION_NANOSECONDS for copy in copies)
    return 2 * (heard + 1) > len(copies) + 1


def _ack(payload: bytes) -> Ack:
    answer = msgspec.json.decode(payload) if payload else {}
    if error := answer.get("error"):
        kind = Conflict if error.get("err_code") in WRONG_LAST else Refused
        raise kind(error.get("code", 0), error.get("err_code", 0), error.get("description", "refused"))
    if "seq" not in answer:
        raise Timeout("what answered was not a stream")
    return Ack(answer["seq"], answer.get("duplicate", False))
