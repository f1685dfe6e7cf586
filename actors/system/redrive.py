"""Takes a dead letter back into its actor's mailbox, and answers once the event is settled.

There is one attempt. The caller names the dead letter, and may repeat the request where no answer came: the event is then not
received a second time, as long as this process remembers the dead letter.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from actors.system.life import EventDelivery, Message
from router.codec import decode
from router.dedup import digest
from router.errors import BadEvent, BadInput
from router.mailbox import Mailbox
from router.nats.service import Request

# 10,000 dead letters at some hundred bytes each: more than are redriven in the time in which a request is repeated.
REMEMBERED = 10_000


class Redrive:
    """The dead letters that were redriven to one actor."""

    def __init__(self, attempts: int, mailbox: Mailbox[Message]) -> None:
        self._attempts = attempts
        self._mailbox = mailbox
        # By dead letter: the requests that wait for its answer, or the answer.
        self._letters: OrderedDict[str, list[Request] | dict[str, Any]] = OrderedDict()

    def called(self, request: Request) -> None:
        """Takes a request `{"id", "event"}`, the event as it was stored in the dead letter; called by the read loop."""
        try:
            match request.arguments():
                case {"id": str(id), "event": bytes(payload)} if id:
                    pass
                case _:
                    raise BadInput("a letter needs an id, and the event as bytes; send msgpack")
            known = self._letters.get(id)
            if isinstance(known, dict):
                request.answer(known)
                return
            if known is not None:
                known.append(request)
                return
            event = decode(payload)
        except BadEvent as fault:
            request.refuse(422, str(fault))
            return
        except BadInput as fault:
            request.refuse(400, str(fault))
            return
        # Counted as the last attempt, so that every outcome settles it.
        if self._mailbox.offer(EventDelivery(event, self._attempts, _Settle(self, id), digest(payload))):
            self._letters[id] = [request]
        else:
            request.refuse(503, "shutting down" if self._mailbox.closed else "the mailbox is full")

    async def give_back(self) -> None:
        """Answers all requests that still wait: the process ends."""
        waiting = [request for letter in self._letters.values() if isinstance(letter, list) for request in letter]
        self._letters.clear()
        for request in waiting:
            await request.fail(503, "shutting down")

    async def settled(self, id: str, answer: dict[str, Any] | None) -> None:
        """Answers all requests for one dead letter; None where it was not settled, and may be redriven again."""
        waiting = self._letters.pop(id, [])
        if answer is not None:
            self._letters[id] = answer
            while len(self._letters) > REMEMBERED:
                self._letters.popitem(last=False)
        for request in waiting if isinstance(waiting, list) else []:
            if answer is None:
                await request.fail(503, "not settled")
            else:
                await request.respond(answer)


class _Settle:
    """Settles one redriven dead letter."""

    __slots__ = ("_id", "_redrive")

    def __init__(self, redrive: Redrive, id: str) -> None:
        self._redrive = redrive
        self._id = id

    async def ack(self) -> None:
        await self._redrive.settled(self._id, {"outcome": "acked"})

    async def retry(self, delay: float) -> None:
        await self._redrive.settled(self._id, None)

    async def reject(self, reason: str, detail: str) -> None:
        await self._redrive.settled(self._id, {"outcome": "rejected", "reason": reason, "detail": detail})
