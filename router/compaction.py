"""Compacts a bucket: removes the markers of deleted keys that earlier versions wrote without a TTL, and orphans."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from router.nats.bucket import Bucket, is_marker
from router.nats.connection import Connection
from router.nats.consumer import Consumer, Message

# A thousand keys are read ahead of the purges, 32 of which are under way at once: a million markers take about a minute, and
# the server answers others in between.
READ_AHEAD = 1000
PURGES = 32


async def compact(connection: Connection, name: str, is_orphan: Callable[[str], bool] = lambda _key: False) -> int:
    """Purges markers without a TTL, and values without a TTL whose key is an orphan; returns how many.

    Safe beside writers and other compactions: a purge names the revision that was read, and leaves what is newer. Only
    headers are read. Raises BrokerError.
    """
    bucket = Bucket(connection, name)
    found: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
    complete = asyncio.Event()
    purged = 0

    def arrived(message: Message) -> None:
        key = message.subject[len(f"$KV.{name}.") :]
        if "Nats-TTL" not in message.headers and (is_marker(message.headers) or is_orphan(key)):
            found.put_nowait((key, message.sequence))
        else:
            consumer.done()
        if message.pending == 0:
            complete.set()

    def began(pending: int) -> None:
        if pending == 0:
            complete.set()

    async def purge() -> None:
        nonlocal purged
        while True:
            key, revision = await found.get()
            await bucket.purge(key, before=revision + 1)
            purged += 1
            consumer.done()
            found.task_done()

    consumer = Consumer(
        connection,
        bucket.stream,
        {
            "name": "compact-" + connection.inbox().partition(".")[2].replace(".", "-"),
            "ack_policy": "none",
            "deliver_policy": "last_per_subject",
            "filter_subject": f"$KV.{name}.>",
            "headers_only": True,
            "inactive_threshold": 60_000_000_000,
            "mem_storage": True,
            "num_replicas": 1,
        },
        arrived,
        credit=READ_AHEAD,
        afresh=True,
        began=began,
        idle=complete.set,
    )

    async def finish() -> None:
        await complete.wait()
        await found.join()

    tasks = [asyncio.ensure_future(each) for each in (consumer.run(), finish(), *(purge() for _ in range(PURGES)))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await bucket.remove_consumer(consumer.name)
    return purged
