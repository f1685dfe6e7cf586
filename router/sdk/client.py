"""Reads events, publishes and commands at an edge over HTTP: `async for event in Client(url).session(subjects=[…])`."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from typing import Any, Self
from urllib.parse import quote, urlencode

import aiohttp
import msgspec

from router.errors import BadInput
from router.sdk.links import REQUEST_SECONDS, WAYS, HttpRefusal, answer_of
from router.sdk.reader import ReadRefused, Received, SessionReader
from router.timing import full_jitter

log = logging.getLogger(__name__)

DEFAULT_EDGE = "http://127.0.0.1:8000"
# An hour without a reader, where this process could not remove its session. A later reader makes a new one at its cursor.
SESSION_TTL = 3600.0
# What a publication that may not have arrived is tried; its key makes a repeat harmless.
TRIES = 4
# Of what is stored so much is read at once.
PAGE = 500

Token = str | Callable[[], str] | None


class Client:
    """One edge, for programs with asyncio.

        async for event in Client("http://localhost:8000").session(subjects=["agent.run-42.>"], cursor="earliest"):
            print(event.type, event.data)

    `token` is a token, or a function that gives the newest one; CALLBOARD_TOKEN where none is given.
    """

    def __init__(self, url: str | None = None, token: Token = None) -> None:
        """Raises BadInput for an address that is none of an edge."""
        self.base = (url or os.environ.get("CALLBOARD_URL") or DEFAULT_EDGE).rstrip("/")
        if not self.base.lower().startswith(("http://", "https://")):
            raise BadInput(f"{self.base[:80]!r}: a client reads at an edge, by http:// or https://")
        self._token = token

    def headers(self) -> Mapping[str, str]:
        """What proves who asks."""
        token = self._token() if callable(self._token) else self._token
        token = token or os.environ.get("CALLBOARD_TOKEN")
        return {"Authorization": f"Bearer {token}"} if token else {}

    def session(
        self,
        session_id: str | None = None,
        *,
        subjects: list[str] | None = None,
        types: list[str] | None = None,
        cursor: str | None = None,
        since: str | None = None,
        last: int | None = None,
        transport: str | tuple[str, ...] = tuple(WAYS),
        on_notice: Callable[[dict[str, Any]], None] | None = None,
        **body: Any,
    ) -> SessionReader:
        """Reads events, from a cursor (also `earliest`, `now`, `snapshot`), a time or the last N on; by default from now on.

        With a `session_id` it reads that one as it is. `body` is what else a session may have: `filter`, `conflate`, `max_rate`.
        Iterating raises ReadRefused where the server refuses for good.
        """
        chosen = {"subjects": subjects, "events": types, "since": since, "last": last}
        spec = {
            "delivery_method": "websocket",
            "ttl": SESSION_TTL,
            **{name: given for name, given in chosen.items() if given},
            **body,
        }
        transports = (transport,) if isinstance(transport, str) else transport
        return SessionReader(
            self.base,
            self.headers,
            spec,
            session_id=session_id,
            cursor=cursor,
            transports=transports,
            on_notice=on_notice,
        )

    async def history(
        self,
        subjects: list[str] | None = None,
        *,
        types: list[str] | None = None,
        filter: str | None = None,
        cursor: str | None = None,
        since: str | None = None,
        last: int | None = None,
    ) -> AsyncGenerator[Received, None]:
        """Gives what is stored, oldest first, and ends: from a cursor (also `earliest`, `snapshot`), a time or the last N on.

        Raises ReadRefused, and OSError where nobody answers.
        """
        named = {"subjects": ",".join(subjects or ()), "types": ",".join(types or ()), "filter": filter}
        place: dict[str, Any] = {"cursor": cursor, "since": since, "last": last}
        while True:
            query = {name: str(given) for name, given in {**named, **place, "limit": PAGE}.items() if given}
            page = await self.ask("GET", f"/events?{urlencode(query)}", tries=TRIES)
            if gap := page.get("gap"):
                log.warning("events are missing", extra={"first": gap.get("from"), "last": gap.get("to")})
            for event in page["events"]:
                yield msgspec.convert(event, Received)
            if not page["has_more"]:
                return
            place = {"cursor": page["next"]}

    async def publish(self, subject: str, data: Mapping[str, Any] | None = None, **event: Any) -> Mapping[str, Any]:
        """Stores an event, once: where the answer was lost it is sent again, and recognised. Raises ReadRefused."""
        body = {"subject": subject, "data": dict(data or {}), **event}
        stored: Mapping[str, Any] = await self.ask(
            "POST", "/events", body, {"Idempotency-Key": secrets.token_hex(16)}, TRIES
        )
        return stored

    async def command(self, actor: str, instance: str, name: str, body: Mapping[str, Any] | None = None) -> Any:
        """Asks an actor: `await client.command("agent", "main", "stop", {"run": "run-42"})`. Raises ReadRefused."""
        path = "/".join(quote(part, safe="") for part in (actor, instance, name))
        return await self.ask("POST", f"/commands/{path}", dict(body or {}))

    async def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, tries: int = 1
    ) -> Any:
        """Sends one request, and returns the answer's JSON. Raises ReadRefused, and OSError where nobody answers."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            for attempt in range(1, tries + 1):
                try:
                    given = {**self.headers(), **(headers or {})}
                    async with http.request(method, self.base + path, json=body, headers=given) as answer:
                        return await answer_of(answer)
                except HttpRefusal as refusal:
                    if not refusal.passing or attempt == tries:
                        raise ReadRefused(refusal.status, refusal.code, str(refusal)) from None
                    await asyncio.sleep(max(refusal.retry_after, full_jitter(attempt, 0.3, 3.0)))
                except (aiohttp.ClientError, TimeoutError) as fault:
                    if attempt == tries:
                        raise OSError(str(fault) or type(fault).__name__) from fault
                    await asyncio.sleep(full_jitter(attempt, 0.3, 3.0))
        raise AssertionError("tries is at least 1")


class SyncClient:
    """The same for programs without asyncio: `for event in SyncClient(url).session(subjects=[…])`."""

    def __init__(self, url: str | None = None, token: Token = None) -> None:
        """Raises BadInput as Client does."""
        self._client = Client(url, token)

    def session(self, session_id: str | None = None, **options: Any) -> SyncReader:
        """Takes what Client.session takes."""
        return SyncReader(self._client.session(session_id, **options))

    def history(self, subjects: list[str] | None = None, **options: Any) -> Iterator[Received]:
        """Gives what Client.history gives."""
        with asyncio.Runner() as runner:
            events = self._client.history(subjects, **options)
            while (event := runner.run(anext(events, None))) is not None:
                yield event

    def publish(self, subject: str, data: Mapping[str, Any] | None = None, **event: Any) -> Mapping[str, Any]:
        """Does what Client.publish does."""
        return asyncio.run(self._client.publish(subject, data, **event))

    def command(self, actor: str, instance: str, name: str, body: Mapping[str, Any] | None = None) -> Any:
        """Does what Client.command does."""
        return asyncio.run(self._client.command(actor, instance, name, body))


class SyncReader:
    """`for event in reader`. Between two events nothing runs: what comes meanwhile waits at the server, and its pings do, too."""

    def __init__(self, reader: SessionReader) -> None:
        self._reader = reader
        self._runner: asyncio.Runner | None = None

    @property
    def cursor(self) -> str | None:
        """Behind the last event that the loop has dealt with."""
        return self._reader.cursor

    def __iter__(self) -> Iterator[Received]:
        with self:
            while self._runner is not None:
                yield self._runner.run(self._reader.next())

    def __enter__(self) -> Self:
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leaves the server."""
        runner, self._runner = self._runner, None
        if runner is not None:
            with runner:
                runner.run(self._reader.aclose())
