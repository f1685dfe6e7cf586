"""This file is where a webhook is posted: one attempt, one deadline over all of it, and never more read than is needed."""

from __future__ import annotations

import asyncio
import gzip
import re
import ssl
from collections import OrderedDict
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from types import SimpleNamespace
from typing import Any, Self

import aiohttp
from aiohttp.connector import Connection
from yarl import URL

from edge.webhooks.endpoint import EndpointSettings
from edge.webhooks.guard import Guard, GuardSettings, fault_of
from edge.webhooks.outcome import CONTROL, Outcome, Timing, Verdict, late, of_fault, of_status
from edge.webhooks.signature import sign

# 64 KiB of an answer are read, so that its connection can be used again; a longer one is hung up on.
MAX_ANSWER = 64 * 1024
# 1 KiB of it is kept, for who asks why a delivery failed.
MAX_HEAD = 1024
# Receivers close idle connections after a minute or more; half of that is safe.
KEEPALIVE_SECONDS = 30.0
# A receiver that cannot read gzip is not asked again for an hour; so many are remembered.
PLAIN_SECONDS = 3600.0
PLAIN_ENDPOINTS = 4096
# About a millisecond of packing; what is larger is packed in a thread.
PACK_INLINE = 32 * 1024

_TRACE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\Z")

try:
    USER_AGENT = f"Callboard/{version('callboard')}"
except PackageNotFoundError:  # run from a checkout that was never installed
    USER_AGENT = "Callboard/0"


class _Clock:
    """Takes the times of one attempt. What was not needed stays 0."""

    __slots__ = ("address", "begun", "connected", "connecting", "dns", "head", "resolving", "shaking")

    def __init__(self, begun: float) -> None:
        self.begun = begun
        self.resolving = self.dns = self.connecting = self.shaking = self.connected = self.head = 0.0
        self.address = ""

    @property
    def has_connection(self) -> bool:
        """Whether there is a connection, be it one that was kept."""
        return not self.connecting or self.connected > 0

    def timing(self, now: float) -> Timing:
        """Where the time went until now."""
        dns = self.dns
        ready = self.connected or now
        shaken = self.shaking or ready
        return Timing(
            dns=_ms(dns),
            connect=_ms(shaken - self.connecting - dns) if self.connecting else 0.0,
            tls=_ms(ready - self.shaking) if self.shaking else 0.0,
            first_byte=_ms(self.head - (self.connected or self.begun)) if self.head else 0.0,
            total=_ms(now - self.begun),
        )


def _ms(seconds: float) -> float:
    return round(max(0.0, seconds) * 1000, 3)


# The attempt that a connection is being made for, for those who are called without a word of it.
_clock: ContextVar[_Clock | None] = ContextVar("clock", default=None)


class _Tls(ssl.SSLContext):
    """As every client has it; and notes when a handshake begins, which is when the connection itself is there."""

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        clock = _clock.get()
        if clock is not None:
            clock.shaking = asyncio.get_running_loop().time()
        return super().wrap_bio(*args, **options)


def _tls() -> ssl.SSLContext:
    context = _Tls(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    context.set_alpn_protocols(["http/1.1"])
    return context


class _Answer(aiohttp.ClientResponse):
    """An answer that knows who gave it: a connection is let go as soon as nothing more comes."""

    peer = ""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        transport = connection.transport
        if transport is not None and (peer := transport.get_extra_info("peername")):
            self.peer = str(peer[0])
        return await super().start(connection)


def _tracing() -> aiohttp.TraceConfig:
    """Writes to the clock of the attempt when a connection is made; one that was kept costs nothing."""

    async def connecting(_: aiohttp.ClientSession, about: SimpleNamespace, __: Any) -> None:
        clock: _Clock = about.trace_request_ctx
        clock.connecting = asyncio.get_running_loop().time()
        _clock.set(clock)

    async def connected(_: aiohttp.ClientSession, about: SimpleNamespace, __: Any) -> None:
        about.trace_request_ctx.connected = asyncio.get_running_loop().time()

    async def resolving(_: aiohttp.ClientSession, about: SimpleNamespace, __: Any) -> None:
        about.trace_request_ctx.resolving = asyncio.get_running_loop().time()

    async def resolved(_: aiohttp.ClientSession, about: SimpleNamespace, __: Any) -> None:
        clock: _Clock = about.trace_request_ctx
        clock.dns = asyncio.get_running_loop().time() - clock.resolving

    config = aiohttp.TraceConfig()
    config.on_connection_create_start.append(connecting)
    config.on_connection_create_end.append(connected)
    config.on_dns_resolvehost_start.append(resolving)
    config.on_dns_resolvehost_end.append(resolved)
    return config


class Sender:
    """Posts webhooks over connections that are kept for all of a process."""

    def __init__(self, settings: GuardSettings) -> None:
        self.settings = settings
        self._client: aiohttp.ClientSession | None = None
        # Receivers that could not read gzip, and until when that is remembered.
        self._plain: OrderedDict[str, float] = OrderedDict()

    async def __aenter__(self) -> Self:
        guard = Guard(self.settings)

        def make_socket(info: tuple[Any, ...]) -> Any:
            if (clock := _clock.get()) is not None:
                clock.address = str(info[4][0])
            return guard(info)

        self._client = aiohttp.ClientSession(
            # No limit here: how many are under way is bounded by what is pulled, and per endpoint by its gate.
            connector=aiohttp.TCPConnector(
                limit=0,
                socket_factory=make_socket,
                keepalive_timeout=KEEPALIVE_SECONDS,
                ttl_dns_cache=10,
                ssl=_tls(),
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            # Nothing is ever unpacked, so that no answer can be a bomb.
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
            response_class=_Answer,
            trace_configs=[_tracing()],
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await self._client.close()

    async def post(
        self,
        endpoint: EndpointSettings,
        delivery: str,
        session_id: str,
        body: bytes,
        trace: str | None = None,
        *,
        content_type: str = "application/json",
        more: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Makes one attempt and judges it; raises nothing but CancelledError. `more` are headers of the body's form."""
        headers = {**endpoint.headers, "Content-Type": content_type, "X-Callboard-Session": session_id, **(more or {})}
        if trace and _TRACE.match(trace):
            headers.setdefault("traceparent", trace)
        if endpoint.verify == "options":
            headers["WebHook-Request-Origin"] = self.settings.origin
        message_id = f"msg_{delivery}"
        packed = await self._packed(endpoint, body)
        if packed is None:
            return (await self._ask("POST", endpoint, {**headers, **sign(endpoint.keys, message_id, body)}, body))[0]
        begun = asyncio.get_running_loop().time()
        # What is signed is what is sent.
        signed = {**headers, "Content-Encoding": "gzip", **sign(endpoint.keys, message_id, packed)}
        outcome, _ = await self._ask("POST", endpoint, signed, packed)
        if outcome.status != 415:
            return outcome
        self._remember_plain(endpoint.url)
        left = endpoint.timeout - (asyncio.get_running_loop().time() - begun)
        signed = {**headers, **sign(endpoint.keys, message_id, body)}
        again, _ = await self._ask("POST", endpoint, signed, body, max(left, 0.0))
        return replace(again, seconds=asyncio.get_running_loop().time() - begun)

    async def options(self, endpoint: EndpointSettings) -> tuple[Outcome, Mapping[str, str]]:
        """Asks a receiver whether it wants to be posted to, as CloudEvents has it; gives its answer's headers, too."""
        headers = {**endpoint.headers, "WebHook-Request-Origin": self.settings.origin}
        if endpoint.wanted_rate is not None:
            headers["WebHook-Request-Rate"] = str(max(1, round(endpoint.wanted_rate * 60)))
        return await self._ask("OPTIONS", endpoint, headers, None)

    async def _ask(
        self,
        method: str,
        endpoint: EndpointSettings,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout: float | None = None,
    ) -> tuple[Outcome, Mapping[str, str]]:
        assert self._client is not None
        # The rules may have become stricter since the session was made.
        if refusal := fault_of(endpoint.url, self.settings):
            return Outcome(Verdict.FINAL, fault="ssrf_blocked", note=refusal), {}
        loop = asyncio.get_running_loop()
        clock = _Clock(loop.time())
        status = 0
        try:
            async with asyncio.timeout(endpoint.timeout if timeout is None else timeout):
                async with self._client.request(
                    method,
                    URL(endpoint.url, encoded=True),
                    data=body,
                    headers=headers,
                    allow_redirects=False,
                    trace_request_ctx=clock,
                ) as answer:
                    clock.head = loop.time()
                    status = answer.status
                    if isinstance(answer, _Answer):
                        clock.address = answer.peer or clock.address
                    head = await _head(answer)
                    said = answer.headers
        except (aiohttp.ClientError, OSError, ValueError) as fault:  # TimeoutError is an OSError
            now = loop.time()
            outcome = late(of_fault(fault, now - clock.begun), clock.has_connection, status)
            return replace(outcome, timing=clock.timing(now), address=clock.address), {}
        now = loop.time()
        return of_status(
            status,
            said.get("Retry-After"),
            now - clock.begun,
            head,
            said.get(CONTROL),
            timing=clock.timing(now),
            address=clock.address,
        ), said

    async def _packed(self, endpoint: EndpointSettings, body: bytes) -> bytes | None:
        """The body in gzip, where that is asked for, understood and worth it."""
        if endpoint.gzip_above is None or len(body) <= endpoint.gzip_above or self._is_plain(endpoint.url):
            return None
        packed = _pack(body) if len(body) <= PACK_INLINE else await asyncio.to_thread(_pack, body)
        return packed if len(packed) < len(body) else None

    def _is_plain(self, url: str) -> bool:
        until = self._plain.get(url)
        if until is None:
            return False
        if until > asyncio.get_running_loop().time():
            return True
        del self._plain[url]
        return False

    def _remember_plain(self, url: str) -> None:
        self._plain[url] = asyncio.get_running_loop().time() + PLAIN_SECONDS
        if len(self._plain) > PLAIN_ENDPOINTS:
            self._plain.popitem(last=False)


def _pack(body: bytes) -> bytes:
    return gzip.compress(body, 6, mtime=0)


async def _head(answer: aiohttp.ClientResponse) -> bytes:
    """Reads an answer as far as it is worth, and gives its beginning."""
    head, length = b"", 0
    async for chunk in answer.content.iter_any():
        head = (head + chunk)[:MAX_HEAD] if len(head) < MAX_HEAD else head
        length += len(chunk)
        if length > MAX_ANSWER:
            answer.close()
            break
    return head
