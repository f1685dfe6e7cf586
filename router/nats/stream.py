"""Reads stored messages of any stream by Direct Get: one, or a run of them at once (ADR-31 of NATS)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from router.errors import Refused, Timeout
from router.nats.connection import Connection, Reply, header, status

T = TypeVar("T")

_API = "$JS.API.DIRECT.GET"


class Run(NamedTuple, Generic[T]):
    """Messages in stream order, and how many more there are behind them."""

    messages: list[T]
    left: int


class Stored(NamedTuple):
    """One message as a stream holds it."""

    sequence: int
    subject: str
    payload: bytes


def stored(reply: Reply) -> Stored:
    """Reads one message of a run."""
    sequence, subject = header(reply.headers, b"Nats-Sequence"), header(reply.headers, b"Nats-Subject")
    return Stored(int(sequence or 0), subject or "", reply.payload)


async def read_run(
    connection: Connection, stream: str, request: Mapping[str, Any], make: Callable[[Reply], T]
) -> Run[T]:
    """Reads what a request of `seq` or `start_time`, `next_by_subj`, `batch` and `max_bytes`, or of `multi_last`, asks for.

    `make` takes each message, in the read loop, and must not raise. Raises Refused or Timeout.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[tuple[int, str, int]] = loop.create_future()
    found: list[T] = []

    def heard(_subject: str, _reply: str, payload: bytes, raw: bytes) -> None:
        if done.done():
            return
        code, text = status(raw)
        left = header(raw, b"Nats-Num-Pending")
        if code:
            # 204 ends a run; only there is Nats-Num-Pending what is left behind it.
            done.set_result((code, text, int(left or 0)))
            return
        found.append(make(Reply(payload, raw)))
        if left is None:
            # A single answer, from a server that does not batch.
            done.set_result((204, "EOB", 0))

    def expired() -> None:
        if not done.done():
            done.set_exception(Timeout(f"a run of messages of {stream} did not arrive"))

    address = connection.expect(heard)
    timer = loop.call_later(connection.settings.request_timeout, expired)
    try:
        subject = f"{_API}.{stream}"
        with connection.awaiting(subject, done):
            await connection.send(subject, msgspec.json.encode(dict(request)), reply=address)
            code, text, left = await done
    finally:
        timer.cancel()
        connection.forget(address)
    match code:
        case 204:
            return Run(found, left)
        case 404:
            return Run([], 0)
        case 503:
            raise Timeout(f"nobody answers for {stream}")
    raise Refused(code, 0, text)


async def read_one(connection: Connection, stream: str, request: Mapping[str, Any]) -> Reply | None:
    """Reads one stored message, by `seq` or `last_by_subj`; None where there is none. Raises Refused or Timeout."""
    reply = await connection.ask(f"{_API}.{stream}", msgspec.json.encode(dict(request)))
    code, text = status(reply.headers)
    if code == 404:
        return None
    if code:
        raise Refused(code, 0, text)
    return reply
