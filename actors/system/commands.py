"""Serves an actor's commands as a NATS micro service, one endpoint for each, and puts the calls into its mailbox.

Every actor has one endpoint more, `log_level`, and one that receives events has `redrive`: it takes one of its dead letters back.
"""

from __future__ import annotations

import functools
import inspect
import json
import time
from collections.abc import Mapping
from typing import Any

from actors.system import log_level
from actors.system.actor import LOG_LEVEL, REDRIVE, Actor
from actors.system.caller import PRINCIPAL_HEADER
from actors.system.life import Call, Message
from actors.system.redrive import Redrive
from actors.system.schema import command_schema
from router.codec import rfc3339
from router.errors import BadInput
from router.mailbox import Mailbox
from router.nats.connection import Connection
from router.nats.service import Endpoint, Request, Service
from router.subject import escape
from router.version import VERSION as RELEASE

VERSION = "1.0.0"


def command_address(actor: str, instance: str, command: str) -> str:
    """The NATS subject of one command of one actor."""
    return f"cmd.{escape(actor)}.{escape(instance)}.{command}"


class CommandService:
    """Takes calls for one actor and puts them first into its mailbox, so that none runs beside `receive`."""

    def __init__(
        self,
        actor: Actor,
        instance: str,
        connection: Connection,
        mailbox: Mailbox[Message],
        published: Mapping[str, int] | None = None,
    ) -> None:
        """`published` is how many events of each kind the actor has published, which its statistics show."""
        self.restarts = 0
        self._mailbox = mailbox
        self._published = {} if published is None else published
        self._crash: dict[str, str] | None = None
        self._redrive = Redrive(actor.attempts, mailbox)
        about = inspect.getdoc(type(actor)) or f"the actor {actor.name}"
        self._service = Service(
            connection,
            actor.name,
            VERSION,
            description=about.splitlines()[0],
            metadata={"instance": instance, "subjects": " ".join(actor.subjects)},
            endpoints=[
                *(
                    Endpoint(
                        name,
                        command_address(actor.name, instance, name),
                        functools.partial(self._called, name),
                        {
                            "about": (inspect.getdoc(method) or name).splitlines()[0],
                            "schema": json.dumps(command_schema(method), separators=(",", ":")),
                        },
                    )
                    for name, method in actor.commands().items()
                ),
                Endpoint(
                    LOG_LEVEL,
                    command_address(actor.name, instance, LOG_LEVEL),
                    log_level.called,
                    {"about": log_level.ABOUT, "schema": log_level.SCHEMA},
                ),
                *(
                    [
                        Endpoint(
                            REDRIVE,
                            command_address(actor.name, instance, REDRIVE),
                            self._redrive.called,
                            {"about": "Takes one of its dead letters back, and answers once the event is settled."},
                        )
                    ]
                    if actor.subjects
                    else []
                ),
            ],
            stats=self._stats,
            details=self._details,
        )

    async def run(self) -> None:
        """Serves until cancelled."""
        await self._service.run()

    async def serving(self) -> None:
        """Returns once calls are received."""
        await self._service.serving.wait()

    def close(self) -> None:
        """Refuses calls from now on; those in the mailbox are still answered."""
        self._service.close()

    async def give_back(self) -> None:
        """Refuses the redrives that were not answered yet."""
        await self._redrive.give_back()

    def crashed(self, crash: Exception) -> None:
        """Notes one more restart."""
        self.restarts += 1
        # Its kind alone: an error's text may hold what is no reader's business, such as the address of a source.
        self._crash = {"at": rfc3339(time.time_ns()), "error": type(crash).__name__}

    def _stats(self) -> dict[str, Any]:
        return {"restarts": self.restarts, "mailbox": len(self._mailbox)}

    def _details(self) -> dict[str, Any]:
        return {**self._stats(), "release": RELEASE, "crash": self._crash, "published": dict(self._published)}

    def _called(self, name: str, request: Request) -> None:
        try:
            arguments = request.arguments()
        except BadInput as fault:
            request.refuse(400, str(fault))
            return
        if not self._mailbox.offer_urgent(Call(name, arguments, _Answer(request), request.header(PRINCIPAL_HEADER))):
            request.refuse(503, "too many calls are waiting" if not self._mailbox.closed else "shutting down")


class _Answer:
    """Answers one call."""

    __slots__ = ("_request",)

    def __init__(self, request: Request) -> None:
        self._request = request

    async def value(self, value: Any) -> None:
        await self._request.respond(value)

    async def error(self, code: int, text: str, crash: Exception | None = None) -> None:
        await self._request.fail(code, text)
