"""This file is where small shared state is kept: key-value buckets on JetStream, with compare-and-set, TTL and a watch.

The layout is that of the NATS tools (`nats kv get SESSIONS <key>` works). A watch is our own pull consumer over the
newest value of each key, which survives reconnects; a periodic full compare is not needed, because a consumer that is
made again starts with the newest value of each key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from router.connection import Connection, header, status
from router.consumer import Consumer, Message
from router.errors import Conflict, Refused, Timeout

_WRONG_LAST = (10071, 10164)
_GONE = {"DEL", "PURGE"}


class Entry(NamedTuple):
    """One key's value; `value` is None where the key was deleted or ran out."""

    key: str
    value: bytes | None
    revision: int


class Bucket:
    """One key-value bucket."""

    def __init__(self, connection: Connection, name: str) -> None:
        self.name = name
        self.stream = f"KV_{name}"
        self._prefix = f"$KV.{name}."
        self._connection = connection

    async def get(self, key: str) -> Entry | None:
        """Reads one key; None where there is none."""
        request = msgspec.json.encode({"last_by_subj": self._prefix + key})
        reply = await self._connection.ask(f"$JS.API.DIRECT.GET.{self.stream}", request)
        code, text = status(reply.headers)
        if code == 404:
            return None
        if code:
            raise Refused(code, 0, text)
        if _deleted(reply.headers):
            return None
        return Entry(key, reply.payload, int(header(reply.headers, b"Nats-Sequence") or 0))

    async def put(self, key: str, value: bytes, ttl: float | None = None) -> int:
        """Writes a key whatever it held; `ttl` in seconds, at least one. Returns its revision."""
        return await self._write(key, value, {}, ttl)

    async def create(self, key: str, value: bytes, ttl: float | None = None) -> int:
        """Writes a key that does not exist. Raises Conflict where it does."""
        try:
            return await self._write(key, value, {"Nats-Expected-Last-Subject-Sequence": "0"}, ttl)
        except Conflict:
            # A deleted key leaves a marker behind, which has a revision of its own.
            revision = await self._marker(key)
            if revision is None:
                raise
            return await self.update(key, value, revision, ttl)

    async def update(self, key: str, value: bytes, revision: int, ttl: float | None = None) -> int:
        """Writes a key whose newest revision is the given one. Raises Conflict where it is not."""
        return await self._write(key, value, {"Nats-Expected-Last-Subject-Sequence": str(revision)}, ttl)

    async def delete(self, key: str, ttl: float | None = None) -> None:
        """Deletes a key; harmless where there is none. The mark it leaves is kept for ever, or for `ttl` seconds."""
        await self._write(key, b"", {"KV-Operation": "DEL"}, ttl)

    async def keys(self) -> list[str]:
        """Lists the keys that have a value."""
        return [entry.key for entry in await self.entries()]

    async def entries(self, pattern: str = ">") -> list[Entry]:
        """Reads all keys under a pattern, in the order they were written."""
        found: list[Entry] = []
        done = asyncio.Event()

        def heard(entry: Entry, ready: bool) -> None:
            if entry.value is not None:
                found.append(entry)

        task = asyncio.ensure_future(self.watch(heard, pattern, ready=done.set))
        waiter = asyncio.ensure_future(done.wait())
        try:
            await asyncio.wait({task, waiter}, timeout=10, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
            if not done.is_set():
                raise Timeout(f"bucket {self.name} did not answer")
        finally:
            for each in (task, waiter):
                each.cancel()
            await asyncio.gather(task, waiter, return_exceptions=True)
        return found

    async def watch(
        self,
        heard: Callable[[Entry, bool], None],
        pattern: str = ">",
        ready: Callable[[], None] | None = None,
    ) -> None:
        """Tells of every key's newest value, then of each change, until cancelled: heard(entry, ready).

        After a reconnect all newest values are told again; `heard` must not mind. `ready` is called once the first
        round is complete.
        """
        info = await self._connection.api(f"STREAM.INFO.{self.stream}", {"subjects_filter": self._prefix + pattern})
        empty = not (info["state"].get("subjects") or {})
        told = False

        def tell() -> None:
            nonlocal told
            if not told:
                told = True
                if ready:
                    ready()

        def message(message: Message) -> None:
            gone = message.headers.get("KV-Operation") in _GONE or "Nats-Marker-Reason" in message.headers
            key = message.subject[len(self._prefix) :]
            heard(Entry(key, None if gone else message.payload, message.sequence), told)
            consumer.done()
            if message.pending == 0:
                tell()

        consumer = Consumer(
            self._connection,
            self.stream,
            {
                "name": "watch-" + self._connection.inbox().partition(".")[2].replace(".", "-"),
                "ack_policy": "none",
                "deliver_policy": "last_per_subject",
                "filter_subject": self._prefix + pattern,
                "inactive_threshold": 60_000_000_000,
                "mem_storage": True,
                "num_replicas": 1,
            },
            message,
            credit=500,
            afresh=True,
        )
        if empty:
            tell()
        await consumer.run()

    async def _write(self, key: str, value: bytes, headers: dict[str, str], ttl: float | None) -> int:
        if ttl is not None:
            headers["Nats-TTL"] = f"{max(1, round(ttl))}s"
        reply = await self._connection.ask(self._prefix + key, value, headers or None)
        answer = msgspec.json.decode(reply.payload)
        if error := answer.get("error"):
            kind = Conflict if error.get("err_code") in _WRONG_LAST else Refused
            raise kind(error.get("code", 0), error.get("err_code", 0), error.get("description", "refused"))
        revision: int = answer["seq"]
        return revision

    async def _marker(self, key: str) -> int | None:
        """The revision of a deletion mark; None where the key has a value."""
        request = msgspec.json.encode({"last_by_subj": self._prefix + key})
        reply = await self._connection.ask(f"$JS.API.DIRECT.GET.{self.stream}", request)
        if status(reply.headers)[0] == 404:
            return 0
        return int(header(reply.headers, b"Nats-Sequence") or 0) if _deleted(reply.headers) else None


def _deleted(raw: bytes) -> bool:
    return header(raw, b"KV-Operation") in _GONE or header(raw, b"Nats-Marker-Reason") is not None
