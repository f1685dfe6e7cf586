"""Asks all other edge processes something at once, and answers what they ask."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

from router.errors import BrokerError
from router.nats.connection import Connection

log = logging.getLogger(__name__)

# How long the others may take; those that are slower are left out.
TIMEOUT = 0.5

T = TypeVar("T")

# Keeps the tasks that send answers from being collected before they are done.
_answering: set[asyncio.Task[None]] = set()


async def ask_peers(
    connection: Connection, subject: str, question: bytes, expected: int, read: Callable[[bytes], T | None]
) -> list[T]:
    """Asks under a subject and gathers up to `expected` answers, for half a second at most.

    `read` decodes an answer, in the read loop; None for one that does not count. It must not raise.
    """
    answers: list[T] = []
    enough = asyncio.Event()

    def heard(_subject: str, _reply: str, payload: bytes, _headers: bytes) -> None:
        # An empty one is the server's: nobody listens.
        if payload and (answer := read(payload)) is not None:
            answers.append(answer)
        if len(answers) >= expected or not payload:
            enough.set()

    address = connection.expect(heard)
    try:
        await connection.send(subject, question, reply=address)
        async with asyncio.timeout(TIMEOUT):
            await enough.wait()
    except (TimeoutError, BrokerError):
        log.info(
            "not every edge process answered in time; going on with those that did",
            extra={"subject": subject, "answered": len(answers), "expected": expected},
        )
    finally:
        connection.forget(address)
    return answers


def answer_peer(connection: Connection, reply: str, payload: bytes) -> None:
    """Sends an answer to a peer that asked; called from the read loop."""
    task = asyncio.get_running_loop().create_task(_send(connection, reply, payload))
    _answering.add(task)
    task.add_done_callback(_answering.discard)


async def _send(connection: Connection, reply: str, payload: bytes) -> None:
    try:
        await connection.send(reply, payload)
    except BrokerError as fault:
        log.debug("answer to another edge process could not be sent; it goes on without", extra={"fault": str(fault)})
