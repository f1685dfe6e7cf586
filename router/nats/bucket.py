"""Keeps small shared state in key-value buckets on JetStream, with compare-and-set, TTL and a watch.

The layout is that of the NATS tools (`nats kv get SESSIONS <key>` works). A watch is our own pull consumer over the
newest value of each key, which survives reconnects.

A delete leaves a marker, so that watchers hear of it; each marker has a TTL, so that they do not pile up. A watcher that
was away for longer than that finds out by comparison: whenever its consumer is made again, and at intervals besides, it
reports as deleted every key that it knows and the bucket no longer has.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

import msgspec

from router.errors import BrokerError, Conflict, Refused, Timeout
from router.nats.connection import Connection
from router.nats.consumer import Consumer, Message
from router.nats.error_codes import WRONG_LAST, ErrorCode
from router.nats.headers import Reply, header
from router.nats.stream import Stream
from router.tasks import run_cancellable

log = logging.getLogger(__name__)

# How long the marker of a deleted key stays, in seconds. A watch that receives nothing for 16 seconds is started again, so two
# minutes reach every watcher that has a connection; the others compare.
MARKER_SECONDS = 120.0
# How often a watcher compares the keys that it knows with those that the bucket has, in seconds: a node of a cluster that
# catches up by a snapshot passes over markers that ran out meanwhile, and `nats stream purge` leaves none.
COMPARE_SECONDS = 600.0
# So long a bucket may be silent while all its keys are read.
ENTRIES_TIMEOUT = 10.0
# So long a request waits for a watch that has just begun, in seconds.
READ_SECONDS = 5.0

_GONE = {"DEL", "PURGE"}
# Headers that say that a message is the marker of a deletion, as they stand in a message that the leader was asked for.
_MARKS = (b"KV-Operation: DEL", b"KV-Operation: PURGE", b"Nats-Marker-Reason")


class Entry(NamedTuple):
    """One key's value; `value` is None where the key was deleted or ran out."""

    key: str
    value: bytes | None
    revision: int
    # When the store took it (RFC 3339), where that was asked for: of what `Bucket.get` gives.
    stored: str = ""


class WriteGuard(Protocol):
    """What knows whether a stream takes writes now; see `router.store_health`."""

    async def write(self, stream: str, send: Callable[[], Awaitable[Reply]]) -> Reply:
        """Sends a write to a stream. Raises StoreFailed where, or as soon as, it is known that the stream takes none."""


class Bucket:
    """One key-value bucket."""

    def __init__(self, connection: Connection, name: str, guard: WriteGuard | None = None) -> None:
        """With a `guard` a write raises StoreFailed at once where it would wait for its timeout in vain."""
        self._guard = guard
        self.name = name
        self.stream = f"KV_{name}"
        self._prefix = f"$KV.{name}."
        self._connection = connection
        self._store = Stream(connection, self.stream)

    async def get(self, key: str) -> Entry | None:
        """Reads one key; None where there is none."""
        reply = await self._store.read_one({"last_by_subj": self._prefix + key})
        if reply is None or _deleted(reply.headers):
            return None
        sequence = int(header(reply.headers, b"Nats-Sequence") or 0)
        return Entry(key, reply.payload, sequence, header(reply.headers, b"Nats-Time-Stamp") or "")

    async def read(self, key: str) -> Entry:
        """Reads one key by a request that names it, which takes the right to read this key only.

        Its value is None where there is none, or the marker of its deletion, whose revision a write must name.
        """
        reply = await self._store.read_last(self._prefix + key)
        return Entry(key, None, 0) if reply is None else self.entry_of(reply)

    def entry_of(self, reply: Reply) -> Entry:
        """The entry of a message that the bucket's stream answered with."""
        key = (header(reply.headers, b"Nats-Subject") or "").removeprefix(self._prefix)
        sequence = int(header(reply.headers, b"Nats-Sequence") or 0)
        return Entry(key, None if _deleted(reply.headers) else reply.payload, sequence)

    async def latest(self, key: str) -> Entry | None:
        """Reads one key as the stream's leader has it, which the replica that `get` asks may be behind.

        None where there is none; an entry without a value where the marker of its deletion is left.
        """
        message = await self._store.get_last(self._prefix + key)
        if message is None:
            return None
        gone = any(mark in message.headers for mark in _MARKS)
        return Entry(key, None if gone else message.payload, message.sequence, message.time)

    async def put(self, key: str, value: bytes, ttl: float | None = None) -> int:
        """Writes a key whatever it held; `ttl` in seconds, at least one. Returns its revision."""
        return await self._write(key, value, {}, ttl)

    async def create(self, key: str, value: bytes, ttl: float | None = None) -> int:
        """Writes a key that does not exist. Raises Conflict where it does."""
        revision = 0
        tries = 3
        while True:
            try:
                return await self.update(key, value, revision, ttl)
            except Conflict:
                # A deleted key leaves a marker behind, which has a revision of its own and may run out meanwhile.
                marker = await self._marker(key)
                tries -= 1
                if marker is None or not tries:
                    raise
                revision = marker

    async def update(self, key: str, value: bytes, revision: int, ttl: float | None = None) -> int:
        """Writes a key whose newest revision is the given one. Raises Conflict where it is not."""
        return await self._write(key, value, {"Nats-Expected-Last-Subject-Sequence": str(revision)}, ttl)

    async def delete(self, key: str, ttl: float | None = None) -> int:
        """Deletes a key; harmless where there is none. Its marker stays for `ttl` seconds, or `MARKER_SECONDS`.

        Returns the marker's revision.
        """
        kept = MARKER_SECONDS if ttl is None else ttl
        operation = {"KV-Operation": "DEL"}
        try:
            return await self._write(key, b"", dict(operation), kept)
        except Refused as refusal:
            if refusal.err_code != ErrorCode.STREAM_STORE_FAILED:
                raise
            # A full bucket has no room for a marker until the value is gone.
            await self.purge(key)
            return await self._write(key, b"", operation, kept)

    async def purge(self, key: str, before: int | None = None) -> None:
        """Removes a key without a marker, where its revision is lower than `before`. Watchers find out by comparison."""
        await self._store.purge(self._prefix + key, before)

    async def keys(self) -> list[str]:
        """Lists the keys that have a value."""
        return [entry.key for entry in await self.entries()]

    async def entries(self, pattern: str = ">") -> list[Entry]:
        """Reads all keys under a pattern, in the order they were written.

        Raises Timeout where nothing came for `ENTRIES_TIMEOUT` seconds: a large bucket takes longer as a whole.
        """
        found: list[Entry] = []
        seen = 0
        done = asyncio.Event()

        def heard(entry: Entry, ready: bool) -> None:
            nonlocal seen
            seen += 1
            if entry.value is not None:
                found.append(entry)

        watch = _Watch(self._connection, self, heard, pattern, done.set)
        task = asyncio.ensure_future(watch.run())
        waiter = asyncio.ensure_future(done.wait())
        try:
            while not done.is_set():
                before = seen
                await asyncio.wait({task, waiter}, timeout=ENTRIES_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
                if task.done():
                    task.result()
                if seen == before and not done.is_set():
                    raise Timeout(f"bucket {self.name} did not answer")
        finally:
            for each in (task, waiter):
                each.cancel()
            await asyncio.gather(task, waiter, return_exceptions=True)
            await watch.remove()
        return found

    async def watch(
        self,
        heard: Callable[[Entry, bool], None],
        pattern: str = ">",
        ready: Callable[[], None] | None = None,
        renewed: Callable[[], None] | None = None,
    ) -> None:
        """Reports every key's newest value, then each change, until cancelled: heard(entry, ready).

        After a reconnect all newest values are reported again, and keys that vanished meanwhile as deleted; `heard` must
        not mind. `ready` is called once the first round is complete. `renewed` is called where the bucket was deleted and
        made again: what was reported of the former one is void, its revisions too, and all keys of the new one follow.
        """
        await _Watch(self._connection, self, heard, pattern, ready, renewed).run()

    async def created(self) -> str:
        """Reads when the bucket was made, as the server writes it: it names one life of the bucket."""
        return await self._store.created()

    async def sequence(self) -> int:
        """Reads the revision of the newest write to the bucket."""
        last: int = (await self._store.state())["last_seq"]
        return last

    async def names(self, pattern: str = ">") -> set[str]:
        """Lists the keys under a pattern as the stream's leader has them, deleted ones included while their markers last."""
        listing = await self._store.subjects(self._prefix + pattern)
        return {subject[len(self._prefix) :] for subject in listing.subjects}

    async def remove_consumer(self, name: str) -> None:
        """Removes a consumer that is no longer used, which the server would keep for a minute."""
        with contextlib.suppress(BrokerError):
            await self._store.delete_consumer(name, timeout=1)

    async def _write(self, key: str, value: bytes, headers: dict[str, str], ttl: float | None) -> int:
        if ttl is not None:
            try:
                return await self._send(key, value, {**headers, "Nats-TTL": f"{max(1, round(ttl))}s"})
            except Refused as refusal:
                if refusal.err_code != ErrorCode.MESSAGE_TTL_DISABLED:
                    raise
                # A bucket of an earlier version that this process may not change; compaction cleans up later.
        return await self._send(key, value, headers)

    async def _send(self, key: str, value: bytes, headers: dict[str, str]) -> int:
        def send() -> Awaitable[Reply]:
            return self._connection.ask(self._prefix + key, value, headers or None)

        reply = await (self._guard.write(self.stream, send) if self._guard else send())
        answer = msgspec.json.decode(reply.payload)
        if error := answer.get("error"):
            kind = Conflict if error.get("err_code") in WRONG_LAST else Refused
            raise kind(error.get("code", 0), error.get("err_code", 0), error.get("description", "refused"))
        revision: int = answer["seq"]
        return revision

    async def _marker(self, key: str) -> int | None:
        """The revision of a deletion mark; None where the key has a value."""
        reply = await self._store.read_one({"last_by_subj": self._prefix + key})
        if reply is None:
            return 0
        return int(header(reply.headers, b"Nats-Sequence") or 0) if _deleted(reply.headers) else None


async def read_through(done: asyncio.Event, bucket: str) -> None:
    """Waits until a watch has reported all that its bucket holds, as `ready` tells. Raises Timeout."""
    try:
        async with asyncio.timeout(READ_SECONDS):
            await done.wait()
    except TimeoutError:
        raise Timeout(f"the bucket {bucket} has not been read yet") from None


class _Watch:
    """One watch of a bucket: a consumer, and the keys that were reported with a value."""

    def __init__(
        self,
        connection: Connection,
        bucket: Bucket,
        heard: Callable[[Entry, bool], None],
        pattern: str,
        ready: Callable[[], None] | None,
        renewed: Callable[[], None] | None = None,
    ) -> None:
        self._renewed = renewed
        self._created = ""
        self._bucket = bucket
        self._heard = heard
        self._pattern = pattern
        self._ready = ready
        self._is_ready = False
        self._known: set[str] = set()
        # Keys known from earlier rounds that this round has not reported yet; None between rounds.
        self._unconfirmed: set[str] | None = None
        self._floor = 0  # every key that this round does not report was deleted at or before this revision
        self._prefix = f"$KV.{bucket.name}."
        self._consumer = Consumer(
            connection,
            bucket.stream,
            {
                "name": "watch-" + connection.inbox().partition(".")[2].replace(".", "-"),
                "ack_policy": "none",
                "deliver_policy": "last_per_subject",
                "filter_subject": self._prefix + pattern,
                "inactive_threshold": 60_000_000_000,
                "mem_storage": True,
                "num_replicas": 1,
            },
            self._arrived,
            credit=500,
            afresh=True,
            begin=self._begin,
            began=self._began,
            idle=self._round_over,
        )

    async def run(self) -> None:
        await run_cancellable(self._consumer.run(), name=f"watch {self._bucket.name}", companion=self._compare())

    async def remove(self) -> None:
        await self._bucket.remove_consumer(self._consumer.name)

    async def _begin(self) -> None:
        # Read before the consumer is made: what it does not report was gone by then.
        created = await self._bucket.created()
        if self._created not in ("", created):
            log.warning(
                "bucket was deleted and created again; its watch starts over", extra={"bucket": self._bucket.name}
            )
            self._known.clear()
            if self._renewed:
                self._renewed()
        self._created = created
        self._floor = await self._bucket.sequence()
        self._unconfirmed = set(self._known)

    def _began(self, pending: int) -> None:
        if pending == 0:
            self._round_over()

    def _arrived(self, message: Message) -> None:
        key = message.subject[len(self._prefix) :]
        gone = is_marker(message.headers)
        if gone:
            self._known.discard(key)
        else:
            self._known.add(key)
        if self._unconfirmed is not None:
            self._unconfirmed.discard(key)
        self._tell(Entry(key, None if gone else message.payload, message.sequence))
        self._consumer.done()
        if message.pending == 0:
            self._round_over()

    def _round_over(self) -> None:
        """Ends a round: at the last message, or when the server has no more because the last ones ran out meanwhile."""
        if self._unconfirmed is None:
            return
        vanished, self._unconfirmed = self._unconfirmed, None
        self._report_gone(vanished, self._floor)
        if not self._is_ready:
            self._is_ready = True
            if self._ready:
                self._ready()

    def _report_gone(self, keys: Iterable[str], revision: int) -> None:
        for key in keys:
            self._known.discard(key)
            self._tell(Entry(key, None, revision))

    def _tell(self, entry: Entry) -> None:
        try:
            self._heard(entry, self._is_ready)
        except Exception:
            # A handler that fails on one value must not keep the others from being reported.
            log.exception(
                "watch handler raised an error on a stored value; the watch goes on",
                extra={"bucket": self._bucket.name, "key": entry.key},
            )

    async def _compare(self) -> None:
        """Compares the known keys with those of the bucket at intervals."""
        while True:
            await asyncio.sleep(COMPARE_SECONDS * random.uniform(0.75, 1.25))
            try:
                revision = await self._bucket.sequence()
                known = set(self._known)
                missing = known - await self._bucket.names(self._pattern)
                # Each is looked up: a listing of several pages may pass over keys while others are deleted.
                vanished = [key for key in missing if not await self._bucket.names(key)]
            except BrokerError as fault:
                log.debug(
                    "keys of a bucket could not be listed",
                    extra={"bucket": self._bucket.name, "fault": str(fault)},
                )
                continue
            self._report_gone([key for key in vanished if key in self._known], revision)


def is_marker(headers: Mapping[str, str]) -> bool:
    """Whether a message says that its key was deleted or ran out."""
    return headers.get("KV-Operation") in _GONE or "Nats-Marker-Reason" in headers


def _deleted(raw: bytes) -> bool:
    return header(raw, b"KV-Operation") in _GONE or header(raw, b"Nats-Marker-Reason") is not None
