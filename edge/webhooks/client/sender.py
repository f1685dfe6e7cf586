"""Sends a webhook: one attempt, under one deadline, that reads no more of the answer than is needed."""

from __future__ import annotations

import asyncio
import gzip
import re
import ssl
import time
from collections import OrderedDict
from collections.abc import Container, Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Self

import aiohttp
from msgspec.structs import replace
from yarl import URL

from edge.sessions.endpoint.certificates import ClientCertificate
from edge.sessions.endpoint.oauth import OAuth2
from edge.sessions.endpoint.settings import EndpointSettings
from edge.webhooks.client.answer import BadAnswer
from edge.webhooks.client.exchange import Destination, Exchange, Tls, make_tls
from edge.webhooks.client.oauth import MAX_ANSWER, Token, TokenFailed, Tokens, failed, read_token
from edge.webhooks.client.outcome import CONTROL, Outcome, Verdict, late, of_fault, of_status
from edge.webhooks.client.pool import ConnectionPool
from edge.webhooks.client.proxy import proxy_for
from edge.webhooks.client.signature import sign
from edge.webhooks.client.ssrf import Guard, GuardSettings, fault_of
from edge.webhooks.shortage import Shortage

# A receiver that cannot read gzip is not asked again for an hour; so many are remembered.
PLAIN_SECONDS = 3600.0
MAX_PLAIN = 4096
# About a millisecond of compression; what is larger is compressed in a thread.
MAX_INLINE_GZIP = 32 * 1024
# TLS contexts of endpoints with certificates of their own; one that trusts the public authorities takes about half a MiB.
MAX_CONTEXTS = 256

# A server that rejects the client's certificate sends an alert, which a reset may overtake.
CLOSED_AFTER_HANDSHAKE = (
    "closed after the TLS handshake, before an answer; the receiver may want another client certificate"
)

_TRACE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\Z")

try:
    USER_AGENT = f"Callboard/{version('callboard')}"
except PackageNotFoundError:  # run from a checkout that was never installed
    USER_AGENT = "Callboard/0"


class _Target:
    """The parts of a request that are the same for every attempt of an endpoint."""

    __slots__ = ("destination", "endpoint", "head", "keys", "refusal", "request_line", "token")

    def __init__(self, endpoint: EndpointSettings, settings: GuardSettings, tls: Tls | None) -> None:
        self.endpoint = endpoint
        # The rules may have become stricter since the session was made.
        self.refusal = fault_of(endpoint.url, settings)
        # Where old secrets still sign, that ends by itself.
        self.keys = None if endpoint.old_secrets else endpoint.keys
        url = URL(endpoint.url, encoded=True)
        self.destination = _destination(url, endpoint, settings, tls)
        self.request_line = _request_line(url)
        # Where its access tokens come from, and the request for one.
        self.token: tuple[Destination, bytes, bytes] | None = None
        if endpoint.oauth2 is not None:
            self.refusal = self.refusal or fault_of(endpoint.oauth2.token_url, settings, "oauth2: token_url")
            url = URL(endpoint.oauth2.token_url, encoded=True)
            asked, form = endpoint.oauth2.request()
            asked |= {"Accept-Encoding": "identity", "User-Agent": USER_AGENT, "Content-Length": str(len(form))}
            head = f"POST {_request_line(url)}{_lines(asked)}\r\n".encode()
            self.token = _destination(url, endpoint, settings, tls), head, form
        headers = dict(endpoint.headers)
        if not any(name.lower() == "accept" for name in headers):
            headers["Accept"] = "*/*"
        headers["Accept-Encoding"] = "identity"
        headers["User-Agent"] = USER_AGENT
        if endpoint.verify == "options":
            headers["WebHook-Request-Origin"] = settings.origin
        self.head = _lines(headers)


def _destination(url: URL, endpoint: EndpointSettings, settings: GuardSettings, tls: Tls | None) -> Destination:
    proxy = proxy_for(str(url), endpoint.proxy, settings.proxy, settings.no_proxy, settings.proxy_resolves)
    return Destination(url, tls if url.scheme == "https" else None, proxy)


def _request_line(url: URL) -> str:
    return f"{url.raw_path_qs or '/'} HTTP/1.1\r\nHost: {url.host_port_subcomponent}\r\n"


def _lines(headers: Mapping[str, str]) -> str:
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])


def _signed(target: _Target, endpoint: EndpointSettings, message_id: str, body: bytes, compressed: bytes | None) -> str:
    """The headers that sign one attempt."""
    keys = endpoint.keys if target.keys is None else target.keys
    headers = sign(keys, message_id, body, compressed=compressed)
    if endpoint.signature is not None:
        headers |= endpoint.signature.make(endpoint.secret, keys[0], headers, body)
    return _lines(headers)


class Sender:
    """Sends webhooks over the connection pool of the process."""

    def __init__(self, settings: GuardSettings) -> None:
        self.settings = settings
        self._pool: ConnectionPool | None = None
        # By session, see `retain`: with a bound every attempt would make its target again once there are more sessions.
        self._targets: dict[str, _Target] = {}
        self._contexts: OrderedDict[tuple[ClientCertificate | None, str], Tls] = OrderedDict()
        self._tokens = Tokens()
        # Receivers that could not read gzip, and until when that is remembered.
        self._plain: OrderedDict[str, float] = OrderedDict()

    async def __aenter__(self) -> Self:
        self._pool = ConnectionPool(Guard(self.settings), self.settings.max_connections, USER_AGENT)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._pool is not None:
            await self._pool.close()

    def forget(self, session_id: str) -> None:
        """Drops what is kept of a session."""
        self._targets.pop(session_id, None)

    def retain(self, sessions: Container[str]) -> None:
        """Drops what is kept of any session but these."""
        for session_id in [each for each in self._targets if each not in sessions]:
            del self._targets[session_id]

    async def _target(self, endpoint: EndpointSettings, session_id: str) -> _Target:
        target = self._targets.get(session_id)
        # Compared as objects: another one is made only where the session is changed.
        if target is None or target.endpoint is not endpoint:
            target = self._targets[session_id] = _Target(endpoint, self.settings, await self._tls(endpoint))
        return target

    async def _tls(self, endpoint: EndpointSettings) -> Tls | None:
        """The context of an endpoint that needs one of its own, shared by all that need the same. Raises ssl.SSLError."""
        if endpoint.client_certificate is None and not endpoint.ca:
            return None
        key = endpoint.client_certificate, endpoint.ca
        found = self._contexts.get(key)
        if found is None:
            # Reading the public authorities takes 20 ms.
            found = self._contexts[key] = Tls(key, await asyncio.to_thread(make_tls, *key))
            if len(self._contexts) > MAX_CONTEXTS:
                self._contexts.popitem(last=False)
        else:
            self._contexts.move_to_end(key)
        return found

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
        try:
            target = await self._target(endpoint, session_id)
        except ssl.SSLError as fault:
            return of_fault(fault, 0.0)
        except ValueError:
            return Outcome(Verdict.FINAL, fault="bad_url")
        headers = f"Content-Type: {content_type}\r\nX-Callboard-Session: {session_id}\r\n"
        if more:
            headers += _lines(more)
        if trace and _TRACE.match(trace) and not (more and "traceparent" in more):
            headers += f"traceparent: {trace}\r\n"
        compressed = None if endpoint.gzip_above is None else await self._compressed(endpoint, body)
        signed = headers + _signed(target, endpoint, f"msg_{delivery}", body, compressed)
        if compressed is None:
            return (await self._ask("POST", target, signed, body))[0]
        outcome, _ = await self._ask("POST", target, f"{signed}Content-Encoding: gzip\r\n", compressed)
        if outcome.status != 415:
            return outcome
        self._remember_plain(endpoint.url)
        left = endpoint.timeout - outcome.seconds
        signed = headers + _signed(target, endpoint, f"msg_{delivery}", body, None)
        again, _ = await self._ask("POST", target, signed, body, max(left, 0.0))
        return replace(again, seconds=outcome.seconds + again.seconds)

    async def options(self, endpoint: EndpointSettings) -> tuple[Outcome, Mapping[str, str]]:
        """Asks a receiver for its consent to be sent events, as CloudEvents defines it; gives the headers of its answer, too."""
        try:
            target = _Target(endpoint, self.settings, await self._tls(endpoint))
        except ssl.SSLError as fault:
            return of_fault(fault, 0.0), {}
        except ValueError:
            return Outcome(Verdict.FINAL, fault="bad_url"), {}
        headers = "" if endpoint.verify == "options" else f"WebHook-Request-Origin: {self.settings.origin}\r\n"
        if endpoint.wanted_rate is not None:
            headers += f"WebHook-Request-Rate: {max(1, round(endpoint.wanted_rate * 60))}\r\n"
        return await self._ask("OPTIONS", target, headers, None)

    async def _ask(
        self, method: str, target: _Target, headers: str, body: bytes | None, timeout: float | None = None
    ) -> tuple[Outcome, Mapping[str, str]]:
        """Makes one request, with an access token where the endpoint needs one."""
        oauth = target.endpoint.oauth2
        if oauth is None or target.refusal:
            return await self._ask_once(method, target, headers, body, timeout)
        begun = time.monotonic()
        timeout = target.endpoint.timeout if timeout is None else timeout
        for _ in range(2):
            try:
                token, fresh = await self._tokens.get(oauth, partial(self._fetch_token, target, oauth))
            except TokenFailed as fault:
                return replace(fault.outcome, seconds=time.monotonic() - begun), {}
            left = timeout - (time.monotonic() - begun)
            signed = f"{headers}Authorization: Bearer {token.value}\r\n"
            outcome, said = await self._ask_once(method, target, signed, body, max(left, 0.0))
            if outcome.status != 401:
                break
            self._tokens.discard(oauth, token)
            if fresh:
                break
        return replace(outcome, seconds=time.monotonic() - begun), said

    async def _fetch_token(self, target: _Target, oauth: OAuth2) -> Token:
        """Asks for an access token. Raises TokenFailed."""
        assert target.token is not None and self._pool is not None
        destination, head, form = target.token
        try:
            idle = await self._pool.reserve(destination)
            begun = time.monotonic()
            exchange = Exchange(begun, begun + target.endpoint.timeout)
            exchange.keep = MAX_ANSWER
            await self._pool.request(destination, idle, head, form, exchange)
        except (aiohttp.ClientError, BadAnswer, OSError, ValueError) as fault:
            outcome = of_fault(fault, 0.0)
            if outcome.verdict is Verdict.POSTPONED:
                raise TokenFailed(outcome) from fault
            raise failed(f"the token endpoint cannot be asked: {outcome.detail}") from fault
        return read_token(oauth, exchange.status, exchange.headers, exchange.head)

    async def _ask_once(
        self, method: str, target: _Target, headers: str, body: bytes | None, timeout: float | None = None
    ) -> tuple[Outcome, Mapping[str, str]]:
        assert self._pool is not None
        if target.refusal:
            return Outcome(Verdict.FINAL, fault="ssrf_blocked", note=target.refusal), {}
        length = "" if body is None else f"Content-Length: {len(body)}\r\n"
        head = f"{method} {target.request_line}{target.head}{headers}{length}\r\n"
        # Each header is a line, and nothing in it may begin another.
        if head.count("\n") != head.count("\r\n") or "\r\n\r\n" in head[:-4]:
            return Outcome(Verdict.FINAL, fault="bad_url"), {}
        try:
            idle = await self._pool.reserve(target.destination)
        except Shortage as fault:
            return of_fault(fault, 0.0), {}
        begun = time.monotonic()
        exchange = Exchange(begun, begun + (target.endpoint.timeout if timeout is None else timeout))
        try:
            await self._pool.request(target.destination, idle, head.encode(), body or b"", exchange)
        except (aiohttp.ClientError, BadAnswer, OSError, ValueError) as fault:  # TimeoutError is an OSError
            now = time.monotonic()
            outcome = late(of_fault(fault, now - exchange.begun), exchange.sent > 0)
            if outcome.fault == "reset" and exchange.shaking and not exchange.heard:
                outcome = replace(outcome, note=CLOSED_AFTER_HANDSHAKE)
            return replace(outcome, timing=exchange.timing(now), address=exchange.address), {}
        now, said = time.monotonic(), exchange.headers
        return of_status(
            exchange.status,
            said.get("Retry-After"),
            now - exchange.begun,
            exchange.head,
            said.get(CONTROL),
            timing=exchange.timing(now),
            address=exchange.address,
        ), said

    async def _compressed(self, endpoint: EndpointSettings, body: bytes) -> bytes | None:
        """The body in gzip, where the endpoint asks for it, can read it, and it saves bytes."""
        if endpoint.gzip_above is None or len(body) <= endpoint.gzip_above or self._is_plain(endpoint.url):
            return None
        compressed = _gzip(body) if len(body) <= MAX_INLINE_GZIP else await asyncio.to_thread(_gzip, body)
        return compressed if len(compressed) < len(body) else None

    def _is_plain(self, url: str) -> bool:
        until = self._plain.get(url)
        if until is None:
            return False
        if until > time.monotonic():
            return True
        del self._plain[url]
        return False

    def _remember_plain(self, url: str) -> None:
        self._plain[url] = time.monotonic() + PLAIN_SECONDS
        if len(self._plain) > MAX_PLAIN:
            self._plain.popitem(last=False)


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, 6, mtime=0)
