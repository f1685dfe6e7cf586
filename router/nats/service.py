"""Serves NATS micro services (ADR-32), which `nats micro ls|info|stats` shows.

The protocol is spoken by hand: in nats-py's own, endpoints run beside one another, a stop drops requests in flight, and
a caller is told an exception's repr. Here an endpoint is called from the read loop, puts the request where it is worked
off in turn, and answers when it likes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack

from router.codec import from_json, rfc3339, to_json
from router.errors import BadEvent, BadInput, BrokerError, Refused
from router.nats.connection import Connection
from router.nats.headers import header

log = logging.getLogger(__name__)

QUEUE = "q"
PREFIX = "$SRV"
# 1000 answers that still have to be sent from outside the read loop; past that a caller's own timeout tells it.
ANSWERS = 1000

JSON = "application/json"
MSGPACK = "application/msgpack"


@dataclass
class Statistics:
    """What one endpoint has done; times in ns."""

    num_requests: int = 0
    num_errors: int = 0
    last_error: str = ""
    processing_time: int = 0


@dataclass
class Endpoint:
    """One address that answers. `called` runs in the read loop: it must neither block nor raise."""

    name: str
    subject: str
    called: Callable[[Request], None]
    metadata: Mapping[str, str] = field(default_factory=dict)
    statistics: Statistics = field(default_factory=Statistics)


class Request:
    """One request, to be answered once by `respond`, `fail` or `refuse`."""

    def __init__(self, service: Service, endpoint: Endpoint, reply: str, payload: bytes, raw: bytes) -> None:
        self.payload = payload
        kind = header(raw, b"Content-Type") or ""
        # No msgpack map starts with a byte that JSON objects and arrays or blanks do. An empty request is a person's.
        self.json = "json" in kind or ("msgpack" not in kind and (not payload or payload[:1] in b"{[ \n\t\r"))
        self._service = service
        self._endpoint = endpoint
        self._reply = reply
        self._headers = raw
        self._begun = time.monotonic_ns()

    def header(self, name: str) -> str | None:
        """Reads a header of the request; None where it is absent or empty."""
        return header(self._headers, name.encode()) or None

    def arguments(self) -> dict[str, Any]:
        """Reads the request as a map of arguments; an empty one has none. Raises BadInput."""
        if not self.payload:
            return {}
        if self.json:
            given = from_json(self.payload)
        else:
            try:
                given = msgpack.unpackb(self.payload, raw=False)
            except (ValueError, msgpack.UnpackException, RecursionError):
                raise BadEvent("the request is neither JSON nor msgpack") from None
        if not isinstance(given, dict) or not all(isinstance(name, str) for name in given):
            raise BadInput("the request must be a map of arguments")
        return given

    async def respond(self, value: Any) -> None:
        """Answers with a value, in the format of the request. Raises nothing where the caller is gone."""
        try:
            payload = to_json(value) if self.json else msgpack.packb(value, default=str, use_bin_type=True)
        except (TypeError, ValueError, OverflowError, RecursionError) as fault:
            log.error(
                "answer could not be encoded; sent an error",
                extra={"endpoint": self._endpoint.name, "fault": str(fault)},
            )
            await self.fail(500, "the answer cannot be encoded")
            return
        try:
            await self._send(payload, {"Content-Type": JSON if self.json else MSGPACK})
        except Refused:
            await self.fail(500, "the answer is too large")
        else:
            self._count("")

    async def fail(self, code: int, text: str) -> None:
        """Answers with an error; the text is meant for the caller's eyes."""
        text = _line(text)
        self._count(f"{code}:{text}")
        await self._send(b"", {"Nats-Service-Error-Code": str(code), "Nats-Service-Error": text})

    def answer(self, value: Any) -> None:
        """Answers with a small value of msgpack's own types, where nothing can be awaited."""
        self._count("")
        payload = to_json(value) if self.json else msgpack.packb(value, use_bin_type=True)
        self._service._later(self._reply, payload, {"Content-Type": JSON if self.json else MSGPACK})

    def refuse(self, code: int, text: str) -> None:
        """Answers with an error from the read loop, where nothing can be awaited."""
        text = _line(text)
        self._count(f"{code}:{text}")
        self._service._later(self._reply, b"", {"Nats-Service-Error-Code": str(code), "Nats-Service-Error": text})

    def _count(self, fault: str) -> None:
        statistics = self._endpoint.statistics
        statistics.num_requests += 1
        statistics.processing_time += time.monotonic_ns() - self._begun
        if fault:
            statistics.num_errors += 1
            statistics.last_error = fault

    async def _send(self, payload: bytes, headers: dict[str, str]) -> None:
        if not self._reply:
            return
        try:
            await self._service.connection.send(self._reply, payload, headers)
        except Refused:
            raise
        except BrokerError as fault:
            log.debug(
                "answer could not be sent",
                extra={"endpoint": self._endpoint.name, "fault": str(fault)},
            )


class Service:
    """One micro service; `run` serves it."""

    def __init__(
        self,
        connection: Connection,
        name: str,
        version: str,
        *,
        description: str,
        endpoints: Sequence[Endpoint],
        metadata: Mapping[str, str] | None = None,
        stats: Callable[[], dict[str, Any]] | None = None,
        details: Callable[[], dict[str, Any]] | None = None,
    ) -> None:
        """`stats` are told with each endpoint, as the protocol has it; `details` once, beside them."""
        self.connection = connection
        self.name = name
        self.id = secrets.token_hex(11)
        self.endpoints = list(endpoints)
        self._identity = {"name": name, "id": self.id, "version": version, "metadata": dict(metadata or {})}
        self._description = description
        self._stats = stats
        self._details = details
        self._started = rfc3339(time.time_ns())
        self._closed = False
        self.serving = asyncio.Event()
        self._answers: asyncio.Queue[tuple[str, bytes, dict[str, str]]] = asyncio.Queue(ANSWERS)

    async def run(self) -> None:
        """Serves until cancelled."""
        addresses = [(each.subject, self._hearer(each), QUEUE) for each in self.endpoints]
        for verb, answer in (("PING", self._ping), ("INFO", self._info), ("STATS", self._statistics)):
            names = ("", f".{self.name}", f".{self.name}.{self.id}")
            addresses += [(f"{PREFIX}.{verb}{name}", self._teller(answer), "") for name in names]
        async with contextlib.AsyncExitStack() as stack:
            for subject, heard, queue in addresses:
                listening = await self.connection.listen(subject, heard, queue)
                stack.push_async_callback(listening.stop)
            self.serving.set()
            while True:
                reply, payload, headers = await self._answers.get()
                try:
                    await self.connection.send(reply, payload, headers)
                except BrokerError as fault:
                    log.debug(
                        "answer could not be sent",
                        extra={"service": self.name, "fault": str(fault)},
                    )

    def close(self) -> None:
        """Refuses requests from now on; `run` still has to be cancelled, once those taken are answered."""
        self._closed = True

    def _hearer(self, endpoint: Endpoint) -> Callable[[str, str, bytes, bytes], None]:
        def heard(_subject: str, reply: str, payload: bytes, raw: bytes) -> None:
            request = Request(self, endpoint, reply, payload, raw)
            if self._closed:
                request.refuse(503, "shutting down")
            else:
                endpoint.called(request)

        return heard

    def _teller(self, answer: Callable[[], dict[str, Any]]) -> Callable[[str, str, bytes, bytes], None]:
        def heard(_subject: str, reply: str, _payload: bytes, _raw: bytes) -> None:
            self._later(reply, to_json(answer()), {})

        return heard

    def _later(self, reply: str, payload: bytes, headers: dict[str, str]) -> None:
        if reply and not self._answers.full():
            self._answers.put_nowait((reply, payload, headers))

    def _ping(self) -> dict[str, Any]:
        return {"type": "io.nats.micro.v1.ping_response", **self._identity}

    def _info(self) -> dict[str, Any]:
        return {
            "type": "io.nats.micro.v1.info_response",
            **self._identity,
            "description": self._description,
            "endpoints": [
                {"name": each.name, "subject": each.subject, "queue_group": QUEUE, "metadata": dict(each.metadata)}
                for each in self.endpoints
            ],
        }

    def _statistics(self) -> dict[str, Any]:
        extra = self._stats() if self._stats else {}
        return {
            "type": "io.nats.micro.v1.stats_response",
            **self._identity,
            "started": self._started,
            **({"data": self._details()} if self._details else {}),
            "endpoints": [
                {
                    "name": each.name,
                    "subject": each.subject,
                    "queue_group": QUEUE,
                    "num_requests": each.statistics.num_requests,
                    "num_errors": each.statistics.num_errors,
                    "last_error": each.statistics.last_error,
                    "processing_time": each.statistics.processing_time,
                    "average_processing_time": each.statistics.processing_time // max(1, each.statistics.num_requests),
                    "data": extra,
                }
                for each in self.endpoints
            ],
        }


def _line(text: str) -> str:
    return " ".join(text.split())[:500] or "failed"
