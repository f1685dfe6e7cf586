"""Saves a stream of JetStream with its consumers, and restores it: chunks of an archive that only nats-server reads.

The archive holds what the stream's leader holds, each message at its sequence; the `nats` command line tool reads and writes
the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from router.errors import Refused, Timeout
from router.nats.connection import Connection
from router.nats.headers import status
from router.nats.stream import FIRST_CREATED, Stream

# 128 KiB: below the 1 MiB of `max_payload` that a server has by default.
CHUNK_BYTES = 128 * 1024
# nats-server waits for an acknowledgement of what is under way for some seconds; a disk that is slow for longer ends a backup.
STALL_SECONDS = 15.0
# It checks the archive and opens the stream before it answers the last chunk.
OPEN_SECONDS = 120.0


async def save_stream(connection: Connection, name: str, write: Callable[[bytes], object]) -> dict[str, Any]:
    """Writes a stream's archive chunk by chunk; returns its configuration and state, which `restore_stream` needs.

    Raises Refused or NoResponders, Timeout where the server falls silent (Forbidden: where a right is missing), and what
    `write` raises.
    """
    created = await Stream(connection, name).created()
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    # Bounded by the server: it sends no more than 8 MiB ahead of what is acknowledged.
    chunks: asyncio.Queue[tuple[bytes, str] | None] = asyncio.Queue()
    ended.add_done_callback(lambda _: chunks.put_nowait(None))

    def heard(_subject: str, reply: str, payload: bytes, raw: bytes) -> None:
        if payload:
            chunks.put_nowait((payload, reply))
            return
        code, text = status(raw)
        if code >= 300 and not ended.done():
            ended.set_exception(Refused(code, 0, text or "the server ended the snapshot"))
        chunks.put_nowait(None)

    # A subscription of its own: for an address under the shared inbox the server waits two seconds in vain.
    address = connection.inbox()
    subscription = await connection.listen(address, heard)
    subject = f"STREAM.SNAPSHOT.{name}"
    request = {"deliver_subject": address, "chunk_size": CHUNK_BYTES, "no_consumers": False, "jsck": False}
    try:
        with connection.awaiting(subject, ended):
            about = await connection.api(subject, request)
            while (chunk := await _next(chunks, name)) is not None:
                payload, reply = chunk
                write(payload)
                if reply:
                    await connection.send(reply, b"")
        if ended.done():
            ended.result()
    finally:
        await subscription.stop()
    config = about["config"]
    config["metadata"] = {**(config.get("metadata") or {}), FIRST_CREATED: created}
    return {"config": config, "state": about["state"]}


async def _next(chunks: asyncio.Queue[tuple[bytes, str] | None], name: str) -> tuple[bytes, str] | None:
    try:
        async with asyncio.timeout(STALL_SECONDS):
            return await chunks.get()
    except TimeoutError:
        raise Timeout(f"the snapshot of {name} stopped in the middle") from None


async def restore_stream(connection: Connection, name: str, about: Mapping[str, Any], chunks: Iterable[bytes]) -> None:
    """Makes a stream anew from its archive; `about` is what `save_stream` returned. Raises Refused, NoResponders or Timeout.

    A stream of the name must not be there. Where it fails in the middle, the server keeps nothing of it.
    """
    answer = await connection.api(f"STREAM.RESTORE.{name}", {"config": about["config"], "state": about["state"]})
    where: str = answer["deliver_subject"]
    for chunk in chunks:
        _refuse_error((await connection.ask(where, chunk, timeout=STALL_SECONDS)).payload)
    _refuse_error((await connection.ask(where, b"", timeout=OPEN_SECONDS)).payload)


def _refuse_error(payload: bytes) -> None:
    if payload and (error := msgspec.json.decode(payload).get("error")):
        raise Refused(error.get("code", 0), error.get("err_code", 0), error.get("description", "refused"))
