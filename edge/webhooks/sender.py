"""This file is where a webhook is posted: one attempt, one deadline over all of it, and never more read than is needed."""

from __future__ import annotations

import asyncio
import re
from importlib.metadata import PackageNotFoundError, version
from typing import Self

import aiohttp
from yarl import URL

from edge.webhooks.endpoint import EndpointSettings
from edge.webhooks.guard import Guard, GuardSettings, fault_of
from edge.webhooks.outcome import Outcome, Verdict, of_fault, of_status
from edge.webhooks.signature import sign

# 64 KiB of an answer are read, so that its connection can be used again; a longer one is hung up on.
MAX_ANSWER = 64 * 1024
# 1 KiB of it is kept, for who asks why a delivery failed.
MAX_HEAD = 1024
# Receivers close idle connections after a minute or more; half of that is safe.
KEEPALIVE_SECONDS = 30.0

_TRACE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\Z")

try:
    USER_AGENT = f"Callboard/{version('callboard')}"
except PackageNotFoundError:  # run from a checkout that was never installed
    USER_AGENT = "Callboard/0"


class Sender:
    """Posts webhooks over connections that are kept for all of a process."""

    def __init__(self, settings: GuardSettings) -> None:
        self.settings = settings
        self._client: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._client = aiohttp.ClientSession(
            # No limit here: how many are under way is bounded by what is pulled, and per endpoint by its lane.
            connector=aiohttp.TCPConnector(
                limit=0, socket_factory=Guard(self.settings), keepalive_timeout=KEEPALIVE_SECONDS, ttl_dns_cache=10
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            # Nothing is ever unpacked, so that no answer can be a bomb.
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await self._client.close()

    async def post(
        self, endpoint: EndpointSettings, delivery: str, session_id: str, body: bytes, trace: str | None = None
    ) -> Outcome:
        """Makes one attempt and judges it; raises nothing but CancelledError."""
        assert self._client is not None
        # The rules may have become stricter since the session was made.
        if fault_of(endpoint.url, self.settings):
            return Outcome(Verdict.FINAL, fault="ssrf_blocked")
        headers = {
            **endpoint.headers,
            "Content-Type": "application/json",
            "X-Callboard-Session": session_id,
            **sign([endpoint.key], f"msg_{delivery}", body),
        }
        if trace and _TRACE.match(trace):
            headers.setdefault("traceparent", trace)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            async with asyncio.timeout(endpoint.timeout):
                async with self._client.post(
                    URL(endpoint.url, encoded=True), data=body, headers=headers, allow_redirects=False
                ) as answer:
                    head = await _head(answer)
                    return of_status(answer.status, answer.headers.get("Retry-After"), loop.time() - begun, head)
        except (aiohttp.ClientError, OSError, ValueError) as fault:  # TimeoutError is an OSError
            return of_fault(fault, loop.time() - begun)


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
