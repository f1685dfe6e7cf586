"""Compacts a bucket: removes the markers of deleted keys that earlier versions wrote without a TTL, and orphans."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from router.nats.bucket import Bucket, is_marker
from router.nats.connection import Connection
from router.nats.consumer import Consumer, Message

# A thousand keys are read ahead of the purges, of which 32 run concurrently: a million markers take about a minute, and the
# server answers other requests meanwhile.
READ_AHEAD = 1000
PURGES = 32


async def compact(connection: Connection, name: str, is_orphan: Callable[[str], bool] = lambda _key: False) -> int:
    """Purges markers without a TTL, and values without a TTL whose key is an orphan; returns how many.

    Safe beside writers and other compactions: a purge names the revision that was read, and leaves what is newer. Only
    headers are read. Raises BrokerError.
    """
    return await _Compaction(connection, name, is_orphan).run()


class _Compaction:
    """One compaction: a consumer that reads the keys, and tasks that purge what it finds."""

    def __init__(self, connection: Connection, name: str, is_orphan: Callable[[str], bool]) -> None:
        self._bucket = Bucket(connection, name)
        self._prefix = f"$KV.{name}."
        self._is_orphan = is_orphan
        self._found: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
        self._complete = asyncio.Event()
        self._purged = 0
        self._consumer = Consumer(
            connection,
            self._bucket.stream,
            {
                "name": "compact-" + connection.inbox().partition(".")[2].replace(".", "-"),
                "ack_policy": "none",
                "deliver_policy": "last_per_subject",
                "filter_subject": self._prefix + ">",
                "headers_only": True,
                "inactive_threshold": 60_000_000_000,
                "mem_storage": True,
                "num_replicas": 1,
            },
            self._arrived,
            credit=READ_AHEAD,
            afresh=True,
            began=self._began,
            idle=self._complete.set,
        )

    async def run(self) -> int:
        work = (self._consumer.run(), self._finish(), *(self._purge() for _ in range(PURGES)))
        tasks = [asyncio.ensure_future(each) for each in work]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._bucket.remove_consumer(self._consumer.name)
        return self._purged

    def _arrived(self, message: Message) -> None:
        key = message.subject[len(self._prefix) :]
        if "Nats-TTL" not in message.headers and (is_marker(message.headers) or self._is_orphan(key)):
            self._found.put_nowait((key, message.sequence))
        else:
            self._consumer.done()
        if message.pending == 0:
            self._complete.set()

    def _began(self, pending: int) -> None:
        if pending == 0:
            self._complete.set()

    async def _purge(self) -> None:
        while True:
            key, revision = await self._found.get()
            await self._bucket.purge(key, before=revision + 1)
            self._purged += 1
            self._consumer.done()
            self._found.task_done()

    async def _finish(self) -> None:
        await self._complete.wait()
        await self._found.join()
