"""Holds one connection to a session open, over WebSocket, server-sent events or long polling, and gives what it brings as objects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

import aiohttp

T = TypeVar("T")

# For a request that the server answers at once.
REQUEST_SECONDS = 10.0
# So long a reader waits when the server should have spoken, that there is a new connection 3 s after that.
PROBE_SECONDS = 2.0
# Under the 30 s at which many proxies give up on a silent answer.
POLL_SECONDS = 25
# A larger event is no event of an edge, whose bodies are bounded; one of 1 MiB of bytes has a third more as base64.
MAX_EVENT_BYTES = 16 * 1024 * 1024


class Closing(Generic[T]):
    """Closes a generator at the end of a block; one that the event loop, which ends, is closing already is left to it."""

    def __init__(self, generator: AsyncGenerator[T, None]) -> None:
        self._generator = generator

    async def __aenter__(self) -> AsyncGenerator[T, None]:
        return self._generator

    async def __aexit__(self, *_: object) -> None:
        try:
            # A loop that ends closes all generators at once, and complains of one that another is closing: it goes first.
            await asyncio.sleep(0)
        finally:
            try:
                await self._generator.aclose()
            except RuntimeError as fault:
                if "already running" not in str(fault):
                    raise


class HttpRefusal(Exception):
    """The server answered, and the answer was no."""

    def __init__(self, status: int, code: str, detail: str, retry_after: float = 0.0) -> None:
        super().__init__(detail or f"the server answered {status}")
        self.status = status
        self.code = code
        self.retry_after = retry_after

    @property
    def passing(self) -> bool:
        """Whether it is worth coming back."""
        return self.status in (408, 429) or self.status >= 500


class SessionLink:
    """One connection: its session's address, where it begins, and how long it may be silent, in seconds."""

    def __init__(
        self, http: aiohttp.ClientSession, address: str, headers: Mapping[str, str], start: dict[str, Any]
    ) -> None:
        self.http = http
        self.address = address
        self.headers = headers
        self.start = start
        self.silence = REQUEST_SECONDS
        # The close code of a WebSocket, 0 before.
        self.code = 0

    def url(self, way: str, **more: Any) -> str:
        query = urlencode({**self.start, **more})
        return f"{self.address}/{way}{'?' if query else ''}{query}"


async def answer_of(response: aiohttp.ClientResponse) -> Any:
    """The JSON of an answer; None where it has none. Raises HttpRefusal."""
    text = await response.text()
    try:
        body = json.loads(text) if text else None
    except ValueError:
        body = None
    if response.status >= 400:
        given = body if isinstance(body, dict) else {}
        try:
            later = float(response.headers.get("Retry-After", 0))
        except ValueError:
            later = 0.0
        raise HttpRefusal(
            response.status, str(given.get("code", "")), str(given.get("detail") or given.get("title") or ""), later
        )
    return body


async def websocket(link: SessionLink) -> AsyncGenerator[dict[str, Any], None]:
    """Reads by WebSocket. The answers to the server's pings are sent while the next message is waited for."""
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            socket = await link.http.ws_connect(
                link.url("ws", controls="all"), headers=link.headers, max_msg_size=MAX_EVENT_BYTES
            )
    except aiohttp.WSServerHandshakeError as fault:
        raise HttpRefusal(fault.status, "", fault.message) from None
    try:
        while True:
            async with asyncio.timeout(link.silence):
                message = await socket.receive()
            if message.type is not aiohttp.WSMsgType.TEXT:
                link.code = socket.close_code or 0
                return
            yield json.loads(message.data)
    finally:
        # A peer that is gone never finishes the closing handshake.
        with_transport = socket.close(code=1000)
        try:
            async with asyncio.timeout(1.0):
                await with_transport
        except TimeoutError:
            pass


async def sse(link: SessionLink) -> AsyncGenerator[dict[str, Any], None]:
    """Reads server-sent events: `id:` is the cursor of an event that has none of its own."""
    headers = {**link.headers, "Accept": "text/event-stream"}
    async with link.http.get(
        link.url("sse"), headers=headers, timeout=aiohttp.ClientTimeout(sock_connect=REQUEST_SECONDS)
    ) as response:
        if response.status == 204 or response.status >= 400:
            await answer_of(response)
            return
        name, place = "", ""
        data: list[str] = []
        async with Closing(_lines(response, lambda: link.silence)) as lines:
            async for line in lines:
                if not line:
                    if data:
                        said = json.loads("\n".join(data))
                        yield {"control": name, **said} if name not in ("", "message") else {"cursor": place, **said}
                    name, data = "", []
                    continue
                field, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if field == "data":
                    data.append(value)
                elif field == "event":
                    name = value
                elif field == "id":
                    place = value


async def _lines(response: aiohttp.ClientResponse, silence: Callable[[], float]) -> AsyncGenerator[str, None]:
    rest = b""
    while True:
        async with asyncio.timeout(silence()):
            some = await response.content.readany()
        if not some:
            return
        # The edge ends lines by LF alone.
        *lines, rest = (rest + some).split(b"\n")
        if len(rest) > MAX_EVENT_BYTES:
            raise ValueError("a line of the stream is too long")
        for line in lines:
            yield line.rstrip(b"\r").decode()


async def polling(link: SessionLink) -> AsyncGenerator[dict[str, Any], None]:
    """Reads pages; only the first does not wait."""
    ready = False
    while True:
        url = link.url("events", limit=500, wait=POLL_SECONDS if ready else 0)
        # Between two reads: a page of megabytes may take its time.
        silence = POLL_SECONDS + PROBE_SECONDS if ready else REQUEST_SECONDS
        timeout = aiohttp.ClientTimeout(sock_connect=REQUEST_SECONDS, sock_read=silence)
        async with link.http.get(url, headers=link.headers, timeout=timeout) as response:
            page = await answer_of(response)
        if not ready:
            yield {"control": "ready"}
        ready = True
        if page.get("gap"):
            yield {"control": "gap", **page["gap"]}
        for event in page["events"]:
            yield event
        yield {"control": "position", "cursor": page["next"]}
        link.start = {"cursor": page["next"]}


WAYS: Mapping[str, Callable[[SessionLink], AsyncGenerator[dict[str, Any], None]]] = {
    "websocket": websocket,
    "sse": sse,
    "polling": polling,
}
