"""Reads one shard of EVENTS: from a sequence on, how much there is, or the newest event of each subject."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from router.codec import rfc3339
from router.cursor import epoch_of
from router.errors import Refused, Timeout
from router.events_state import StreamState
from router.layout import Shard
from router.nats.connection import Connection
from router.nats.headers import Reply, header
from router.nats.stream import Stream
from router.record import Record

# 256 events or 1 MiB a page of replay: a page is what one slow reader may hold in memory.
PAGE_EVENTS = 256
PAGE_BYTES = 1024 * 1024
# One multi_last request answers for at most 1,024 subjects (413 above it).
MULTI_LAST_SUBJECTS = 1000
# nats-server elects no other leader before the others have not heard of this one for so long (`minElectionTimeout` of its Raft: 4 s).
ELECTION_NANOSECONDS = 4_000_000_000


class Page(NamedTuple):
    """A run of records in stream order; `more` says that the stream holds further ones."""

    records: list[Record]
    more: bool


class ShardStore:
    """The stored events of one shard. All methods raise BrokerError."""

    def __init__(self, connection: Connection, shard: Shard, replicas: int) -> None:
        self._stream = Stream(connection, shard.stream)
        self._shard = shard
        self._replicas = replicas

    async def state(self) -> StreamState:
        """Reads how far the stream reaches, from its leader."""
        info = await self._stream.info()
        state = info["state"]
        return StreamState(
            epoch=epoch_of(self._shard.stream, info["created"]),
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
            "next_by_subj": self._shard.stored(pattern),
        }
        if since is not None:
            request["start_time"] = rfc3339(int(since.timestamp() * 1_000_000_000))
        else:
            request["seq"] = after + 1
        run = await self._stream.read_run(request, self._record)
        page = Page(run.messages, run.left > 0)
        if upto and not page.more and self._replicas > 1:
            last = page.records[-1].sequence if page.records else after
            if last < upto and await self._holds(pattern, last, upto):
                raise Timeout("the copy of the stream that answered is behind its leader")
        return page

    async def _holds(self, pattern: str, after: int, upto: int) -> bool:
        """Whether the stream's leader, and not just any copy, has an event under a pattern after one sequence, up to another."""
        try:
            message = await self._stream.get_next(self._shard.stored(pattern), after)
        except Refused as refusal:
            if refusal.code != 404:
                raise Timeout("the stream's leader does not answer") from None
            return False
        return message is not None and message.sequence <= upto

    async def count(self, pattern: str, after: int) -> int:
        """Counts the events under one pattern that come after a sequence, without reading more than the first of them."""
        request = {"seq": after + 1, "batch": 1, "next_by_subj": self._shard.stored(pattern)}
        run = await self._stream.read_run(request, self._record)
        return len(run.messages) + run.left

    async def latest_pages(
        self, patterns: Sequence[str], upto: int | None = None, most: int | None = None
    ) -> AsyncIterator[list[Record]]:
        """Reads the newest event of every subject in pages of at most 1 MiB, in no order; with `upto` as of that sequence.

        Of more subjects than one request may name, at most `most`. Without `upto` a subject may come again, with a newer event.
        """
        stored = self._shard.stored
        try:
            async for page in self._multi_last([stored(pattern) for pattern in patterns], upto):
                yield page
            return
        except Refused as refusal:
            if refusal.code != 413:
                raise
        subjects: set[str] = set()
        for pattern in patterns:
            subjects.update((await self._stream.subjects(stored(pattern))).subjects)
        ordered = sorted(subjects)[:most]
        for place in range(0, len(ordered), MULTI_LAST_SUBJECTS):
            async for page in self._multi_last(ordered[place : place + MULTI_LAST_SUBJECTS], upto):
                yield page

    async def _multi_last(self, subjects: list[str], upto: int | None) -> AsyncIterator[list[Record]]:
        request: dict[str, Any] = {"multi_last": subjects, "max_bytes": PAGE_BYTES}
        if upto:
            request["up_to_seq"] = upto
        while True:
            run = await self._stream.read_run(request, self._record)
            yield run.messages
            if not run.left or not run.messages:
                return
            request["seq"] = run.messages[-1].sequence + 1

    def _record(self, reply: Reply) -> Record:
        sequence, subject = header(reply.headers, b"Nats-Sequence"), header(reply.headers, b"Nats-Subject") or ""
        return Record(int(sequence or 0), subject[len(self._shard.prefix) :], reply.payload, shard=self._shard)


def _is_led(cluster: Mapping[str, Any]) -> bool:
    """Whether the leader that says this of its copies has heard of most of them since when another could have been elected.

    Of one that it has never heard of it says that it was active 0 ns ago.
    """
    copies = cluster.get("replicas") or []
    heard: int = sum(not copy.get("offline") and 0 < copy["active"] < ELECTION_NANOSECONDS for copy in copies)
    return 2 * (heard + 1) > len(copies) + 1
