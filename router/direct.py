"""This file is where a run of stored messages is read at once, from any stream: one batched Direct Get (ADR-31)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from router.connection import Connection, Reply, header, status
from router.errors import Refused, Timeout


class Stored(NamedTuple):
    """One message as a stream holds it."""

    sequence: int
    subject: str
    payload: bytes


class Run(NamedTuple):
    """Messages in stream order, and how many more there are behind them."""

    messages: list[Stored]
    left: int


async def read_run(connection: Connection, stream: str, request: Mapping[str, Any]) -> Run:
    """Reads what a request of `seq` or `start_time`, `next_by_subj`, `batch` and `max_bytes` asks for.

    Raises Refused or Timeout.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Reply] = loop.create_future()
    found: list[Stored] = []

    def heard(_subject: str, _reply: str, payload: bytes, raw: bytes) -> None:
        if status(raw)[0] == 0:
            sequence, subject = header(raw, b"Nats-Sequence"), header(raw, b"Nats-Subject")
            found.append(Stored(int(sequence or 0), subject or "", payload))
        elif not done.done():
            done.set_result(Reply(payload, raw))

    def expired() -> None:
        if not done.done():
            done.set_exception(Timeout("a run of stored messages did not arrive"))

    address = connection.expect(heard)
    timer = loop.call_later(connection.settings.request_timeout, expired)
    try:
        subject = f"$JS.API.DIRECT.GET.{stream}"
        with connection.awaiting(subject, done):
            await connection.send(subject, msgspec.json.encode(dict(request)), reply=address)
            end = await done
    finally:
        timer.cancel()
        connection.forget(address)
    code, text = status(end.headers)
    match code:
        case 204:
            return Run(found, int(header(end.headers, b"Nats-Num-Pending") or 0))
        case 404:
            return Run([], 0)
        case 503:
            raise Timeout("nobody answers for the stream")
    raise Refused(code, 0, text)
