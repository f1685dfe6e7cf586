"""Publishes many messages to JetStream concurrently: one wait for all of them, not one for each.

What a single request takes (a future, a timer, an address of its own) is more than the rest of what a job costs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from router.codec import DECODE_FAULTS
from router.errors import BrokerError, Forbidden, Refused, Timeout, TooLarge
from router.limits import message_size
from router.nats.connection import Connection, Outgoing
from router.nats.error_codes import ErrorCode
from router.nats.refusals import as_fault
from router.nats.stream import Ack
from router.nats.subscription import Subscription

log = logging.getLogger(__name__)

ACK_TIMEOUT = 3.0


class Publish(NamedTuple):
    """A message to be published and acknowledged."""

    subject: str
    payload: bytes
    headers: dict[str, str]


Answers = list[Ack | BrokerError | None]
"""What came back for each message: None where nothing did yet."""


class _Fault(msgspec.Struct, gc=False):
    """What JetStream says is wrong."""

    code: int = 0
    err_code: int = 0
    description: str = "refused"


class _Answer(msgspec.Struct, gc=False):
    """What JetStream says to a message, or to an order of its API."""

    error: _Fault | None = None
    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    success: bool = False


_decode = msgspec.json.Decoder(_Answer).decode


class _Flight:
    """Messages that were sent together, and what came back."""

    __slots__ = ("_messages", "_places", "answers", "done", "left")

    def __init__(self, messages: Sequence[Publish], answers: Answers, done: asyncio.Future[None]) -> None:
        self.answers = answers
        self.left = len(messages)
        self.done = done
        self._messages = messages
        # By subject in lower case; made at the first refusal.
        self._places: dict[str, list[int]] | None = None

    def read(self, place: int, payload: bytes) -> None:
        """Notes what JetStream says to one message, once."""
        if self.answers[place] is None:
            self.answer(place, read_answer(payload))

    def answer(self, place: int, answer: Ack | BrokerError) -> None:
        """Notes what came back for one message, once."""
        if self.answers[place] is not None:
            return
        self.answers[place] = answer
        self.left -= 1
        if not self.left and not self.done.done():
            self.done.set_result(None)

    def refuse(self, lower: str) -> str | None:
        """Notes that a subject is forbidden; returns it as it was sent, or None where nothing was."""
        if self._places is None:
            self._places = {}
            for place, message in enumerate(self._messages):
                self._places.setdefault(message[0].lower(), []).append(place)
        if not (places := self._places.get(lower)):
            return None
        for place in places:
            self.answer(place, Forbidden(self._messages[place][0]))
        return self._messages[places[0]][0]


class Publisher:
    """Publishes messages side by side."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._inbox = ""
        self._listening: Subscription | None = None
        self._opening = asyncio.Lock()
        self._flights: dict[int, _Flight] = {}
        self._number = 0
        connection.on_loss(self._lost)
        connection.refused_publishes.senders.append(self._refused)

    async def send(self, messages: Sequence[Publish], answers: Answers | None = None) -> list[Ack | BrokerError]:
        """Sends messages in this order, and says of each that it is stored, or why that is not known or not so.

        One that is larger than the server takes is not sent, and does not keep the others from being. `answers` is a list of
        as many None, which has what came back by then for who cancels this.
        """
        if not messages:
            return []
        loop = asyncio.get_running_loop()
        flight = _Flight(messages, [None] * len(messages) if answers is None else answers, loop.create_future())
        fault: BrokerError = Timeout("a message was not acknowledged in time")
        try:
            await self._fly(flight, messages)
        except TooLarge as large:
            # None was sent. The sizes are not counted where all are small, which the client finds out at no cost.
            limit = self._connection.max_payload
            sizes = [message_size(payload, headers) for _, payload, headers in messages]
            if max(sizes) > limit:
                fits = [message for message, size in zip(messages, sizes, strict=True) if size <= limit]
                others = iter(await self.send(fits))
                return [TooLarge(size, limit) if size > limit else next(others) for size in sizes]
            fault = large
        except BrokerError as lost:
            fault = lost
        return [answer if answer is not None else fault for answer in flight.answers]

    async def _fly(self, flight: _Flight, messages: Sequence[Publish]) -> None:
        """Sends messages and waits until all are answered, or for `ACK_TIMEOUT`. Raises BrokerError."""
        await self._open()
        self._number += 1
        number = self._number
        self._flights[number] = flight
        timer = asyncio.get_running_loop().call_later(ACK_TIMEOUT, self._expired, flight)
        try:
            reply = f"{self._inbox}.{number}-"
            await self._connection.send_all(
                [
                    (subject, payload, headers, f"{reply}{place}")
                    for place, (subject, payload, headers) in enumerate(messages)
                ]
            )
            await flight.done
        finally:
            timer.cancel()
            del self._flights[number]

    async def send_all(self, messages: Sequence[Outgoing]) -> None:
        """Sends what is not answered. Raises Timeout."""
        await self._connection.send_all(messages)

    async def close(self) -> None:
        if self._listening is not None:
            await self._listening.stop()
            self._listening = None

    async def _open(self) -> None:
        if self._listening is not None:
            return
        async with self._opening:
            if self._listening is None:
                self._inbox = self._connection.inbox()
                self._listening = await self._connection.listen(f"{self._inbox}.*", self._answered)

    def _answered(self, subject: str, _reply: str, payload: bytes, _headers: bytes) -> None:
        number, _, place = subject[len(self._inbox) + 1 :].partition("-")
        if (flight := self._flights.get(int(number))) is not None:
            flight.read(int(place), payload)

    def _refused(self, lower: str) -> str | None:
        # A violation says nothing but the subject, so it is for all that is under way to it.
        sent = [flight.refuse(lower) for flight in self._flights.values()]
        return next(filter(None, sent), None)

    def _expired(self, flight: _Flight) -> None:
        if not flight.done.done():
            flight.done.set_result(None)

    def _lost(self) -> None:
        # What is not answered by now will not be answered: its callers fail now instead of at their timeout.
        for flight in self._flights.values():
            self._expired(flight)


def is_too_large(answer: Ack | BrokerError) -> bool:
    """Whether a message is too large for the server or its stream, which no other try would change."""
    return isinstance(answer, TooLarge) or (
        isinstance(answer, Refused) and answer.err_code == ErrorCode.MESSAGE_EXCEEDS_MAXIMUM
    )


def read_answer(payload: bytes) -> Ack | BrokerError:
    """What JetStream says to one message: that it is stored, or why that is not so or not known."""
    if not payload:
        return Timeout("nobody answers for the stream")
    try:
        said = _decode(payload)
    except DECODE_FAULTS:
        return Timeout("what answered was not a stream")
    if fault := said.error:
        return as_fault(fault.code, fault.err_code, fault.description)
    if not said.seq and not said.success:
        return Timeout("what answered was not a stream")
    return Ack(said.seq, said.duplicate, said.stream)
