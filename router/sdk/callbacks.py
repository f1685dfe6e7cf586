"""Gives the callers of a program callbacks, as the `callback_config` of their request asks: webhook, WebSocket, SSE or polling.

    callbacks = await Callbacks.from_request(body.get("callback_config"))   # makes the session at the edge
    start(work(callbacks))                                                  # the work; its caller is answered meanwhile
    return callbacks.answer                                                 # session_id and the addresses to read it at

    async with callbacks as run:                                            # in `work`: a Run, whose events reach that session
        ...

The session is of the subjects of that one run and begins before it. The edge removes it by its TTL, which the end of the run
makes short: some time after the last reader or post, so that who reads late still gets all of it. Where this process dies, that
of the beginning counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from router.broker import Broker
from router.codec import from_json, to_json
from router.errors import BadInput, RouterError
from router.sdk.run import Run
from router.sdk.sync import SyncRun
from router.subject import Subject, escape

# The name that the callback guide gives to what manages sessions.
log = logging.getLogger("callback_manager")

DEFAULT_EDGE = "http://127.0.0.1:8000"
# 10 s for a request to the edge, which answers in milliseconds or not at all.
REQUEST_TIMEOUT = 10.0
# An hour without a reader, and a day without a post: where this process dies before it could say that the run is over.
SESSION_TTL = 3600.0
WEBHOOK_TTL = 86400.0
# A minute after the end for who reads late, and for the last post of a webhook to begin.
GRACE_SECONDS = 60.0
_NAME = "callbacks of "

# What a caller may not choose: a session sees its own run, from its beginning.
_RESERVED = ("subjects", "cursor", "since", "last", "ttl", "name")
_cleaning: set[asyncio.Task[None]] = set()


class BadCallbackConfig(RouterError):
    """a callback_config is refused: `field` says which part of it, `detail` why, `status` and `code` what to answer"""

    def __init__(
        self, detail: str, field: str | None = None, code: str = "bad_callback_config", status: int = 422
    ) -> None:
        super().__init__(f"callback_config.{field}: {detail}" if field else f"callback_config: {detail}")
        self.detail, self.field, self.code, self.status = detail, field, code, status

    @property
    def problem(self) -> dict[str, Any]:
        """The body of an answer (RFC 9457) that passes it on."""
        field = {"field": f"callback_config.{self.field}"} if self.field else {}
        return {
            "title": "Bad callback_config",
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            **field,
        }


class CallbacksUnavailable(RouterError):
    """the edge makes no session for callbacks"""


class Callbacks:
    """The callbacks of one request: its session at the edge, and the run that it sees."""

    def __init__(self, edge: str, token: str | None, domain: str, run: str, grace: float) -> None:
        """Use `from_request`."""
        self.run_id = run
        self.domain = domain
        self.session: dict[str, Any] | None = None
        self.answer: dict[str, Any] = {}
        self.cleaning: asyncio.Task[None] | None = None
        self._edge = edge.rstrip("/")
        self._token = token
        self._grace = grace
        self._created = time.monotonic()
        self._to: Broker | str = edge
        self._options: dict[str, Any] = {}
        self._run: Run

    @classmethod
    async def from_request(
        cls,
        config: Mapping[str, Any] | None,
        *,
        edge: str | None = None,
        token: str | None = None,
        to: Broker | str | None = None,
        run: str | None = None,
        domain: str = "agent",
        public_url: str | None = None,
        grace: float = GRACE_SECONDS,
        **options: Any,
    ) -> Self:
        """Makes a session as a `callback_config` asks; without one the run is as any other, and nobody is called back.

        `edge` and `token`: the edge (else CALLBOARD_EDGE_URL and CALLBOARD_TOKEN say so); `public_url`: where callers reach it, if
        that is another address. `to`: where the run publishes, as Run has it; without it over HTTP, to the edge. `options` are those
        of Run. `run` names the run, which must be a new one for each request. `grace`: how long the session outlives the run, in
        seconds. Raises BadCallbackConfig, CallbacksUnavailable.
        """
        edge = edge or os.environ.get("CALLBOARD_EDGE_URL") or DEFAULT_EDGE
        token = token or os.environ.get("CALLBOARD_TOKEN")
        self = cls(edge, token, domain, run or f"request-{secrets.token_hex(8)}", grace)
        if config is not None:
            await self._create(config, public_url or edge)
        self._options = {"token": token, "domain": domain, **options}
        self._to = to if to is not None else edge
        return self

    @property
    def delivery_method(self) -> str | None:
        """How the caller is called back; None where it did not ask for that."""
        return self.session["delivery_method"] if self.session else None

    async def __aenter__(self) -> Run:
        self._run = Run(self.run_id, self._to, **self._options)
        return await self._run.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._run.__aexit__(kind, fault, trace)
        finally:
            # What a spool holds comes later, so that the session stays for it.
            if self.session is not None and not self._run.unsent:
                # Beside whoever waits for the work.
                self.cleaning = asyncio.create_task(self._shorten(), name=f"callbacks of {self.run_id}")
                _cleaning.add(self.cleaning)
                self.cleaning.add_done_callback(_cleaning.discard)

    # The session

    async def _create(self, config: Mapping[str, Any], public_url: str) -> None:
        if not isinstance(config, Mapping):
            raise BadCallbackConfig("must be an object")
        for field in _RESERVED:
            if field in config:
                raise BadCallbackConfig("is not for the caller to choose", field)
        pattern = f"{Subject.of(self.domain, self.run_id, 'completion').rpartition('.')[0]}.>"
        body = {"delivery_method": "webhook" if config.get("webhook_url") else "websocket", **config}
        body |= {"subjects": [pattern], "name": f"{_NAME}{self.domain}.{escape(self.run_id)}"[:200]}
        body["ttl"] = WEBHOOK_TTL if body["delivery_method"] == "webhook" else SESSION_TTL
        status, answer = await self._ask("POST", "/callbacks/sessions", body)
        if status != 201:
            raise _refusal(status, answer)
        self.session = answer
        about = {"session": answer["session_id"], "delivery_method": answer["delivery_method"], "run": self.run_id}
        log.debug("session created for the callbacks of a run", extra=about)
        self.answer = await self._describe(answer, public_url.rstrip("/"))

    async def _describe(self, session: dict[str, Any], base: str) -> dict[str, Any]:
        """What to answer the caller: how to read the session, or for a webhook how to verify what is posted."""
        method = session["delivery_method"]
        answer: dict[str, Any] = {"session_id": session["session_id"], "delivery_method": method, "run": self.run_id}
        if method == "webhook":
            secret = session.get("webhook_secret")
            return {**answer, "webhook_secret": secret} if secret else answer
        query = await self._ticket(session["session_id"])
        urls = {name: f"{base}{path}" for name, path in session["urls"].items() if name in ("ws", "sse", "events")}
        urls["ws"] = "ws" + urls["ws"].removeprefix("http")
        return {**answer, "urls": {name: url + query for name, url in urls.items()}}

    async def _ticket(self, session: str) -> str:
        """What opens the session once without our token, where the edge asks for tokens."""
        if not self._token:
            return ""
        status, answer = await self._ask("POST", "/tickets", {"session_id": session})
        return f"?ticket={answer['ticket']}" if status == 201 and "ticket" in answer else ""

    async def _shorten(self) -> None:
        """Lets the session end once nobody can be waiting for the rest of it."""
        assert self.session is not None
        path = f"/callbacks/sessions/{self.session['session_id']}"
        # The edge counts from the last reader or post, or from the creation where there was none.
        ttl = max(1.0, time.monotonic() - self._created + self._grace)
        try:
            await self._ask("PATCH", path, {"ttl": round(ttl, 3)})
        except RouterError as fault:
            about = {"session": self.session["session_id"], "fault": str(fault)}
            log.warning("session of callbacks could not be told that its run is over; it expires later", extra=about)

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Asks the edge. Raises CallbacksUnavailable where it does not answer."""
        # Imported here: it takes a fifth of a second, which programs without callbacks need not wait for.
        import aiohttp

        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT)
        data = to_json(body) if body is not None else None
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as http,
                http.request(method, self._edge + path, data=data, headers=headers) as answer,
            ):
                raw = await answer.read()
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, ValueError) as fault:
            where = urlsplit(self._edge).netloc or self._edge
            raise CallbacksUnavailable(
                f"the edge at {where} does not answer: {fault or type(fault).__name__}"
            ) from None
        with contextlib.suppress(BadInput):
            found = from_json(raw) if raw else {}
            if isinstance(found, dict):
                return status, found
        return status, {}


class SyncCallbacks:
    """Callbacks for servers without asyncio: `with callbacks as run:` gives a SyncRun."""

    def __init__(self, callbacks: Callbacks) -> None:
        """Use `from_request`."""
        assert isinstance(callbacks._to, str)
        self._callbacks = callbacks
        self._run = SyncRun(callbacks.run_id, callbacks._to, **callbacks._options)
        self.answer = callbacks.answer
        self.cleaning: threading.Thread | None = None

    @classmethod
    def from_request(cls, config: Mapping[str, Any] | None, *, to: str | None = None, **options: Any) -> Self:
        """Does as `Callbacks.from_request` does, with its options; `to` is an address."""
        return cls(asyncio.run(Callbacks.from_request(config, to=to, **options)))

    @property
    def delivery_method(self) -> str | None:
        """How the caller is called back; None where it did not ask for that."""
        return self._callbacks.delivery_method

    def __enter__(self) -> SyncRun:
        return self._run.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._run.__exit__(kind, fault, trace)
        finally:
            # What a spool holds comes later, so that the session stays for it.
            if self._callbacks.session is not None and not self._run.unsent:
                # In a thread, which the end of the program waits for: the caller need not.
                self.cleaning = threading.Thread(
                    target=lambda: asyncio.run(self._callbacks._shorten()), name="callbacks"
                )
                self.cleaning.start()


def _refusal(status: int, answer: Mapping[str, Any]) -> RouterError:
    """What to raise where the edge made no session: the caller's fault where it says so, else ours."""
    detail = str(answer.get("detail") or answer.get("title") or f"the edge answered {status}")
    if status in (400, 409, 422):
        return BadCallbackConfig(detail, answer.get("field"), str(answer.get("code") or "bad_callback_config"), status)
    return CallbacksUnavailable(f"the edge answered {status}: {detail}")
