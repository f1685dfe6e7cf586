"""Connects to the edge as clients do, for `callboard doctor`: a stream, a WebSocket, a page of another origin.

Only this finds what a proxy or load balancer between does: the edge itself does not see what is buffered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence

from ops.cli.checks.findings import FAIL, OK, WARN, CheckResult, body_of
from ops.cli.sessions import refused
from ops.process.http import get, parse_head, request, send

# What takes longer than this is buffered by something between.
REQUEST_TIMEOUT = 2.0
STRANGER = "https://nobody.invalid"
_UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "Y2FsbGJvYXJkIGRvY3Rvcg==",
}
_HELD_BACK = (
    "something between holds the stream back: turn its buffering and compression off for text/event-stream, as "
    "ops/nginx/callboard.conf does"
)
_LOG = "see the log of the edge"


async def probe(host: str, port: int, token: str | None, origins: Sequence[str]) -> AsyncGenerator[CheckResult, None]:
    """Tries all ways; makes a session for it, and deletes it."""
    session = ""
    try:
        made = await get(
            host, port, "/callbacks/sessions", method="POST", body=b'{"delivery_method":"sse"}', token=token
        )
        if made.status in (401, 403):
            yield CheckResult("sse", WARN, refused(made, token), "give a token that may read something")
        elif not isinstance(found := body_of(made).get("session_id"), str):
            yield CheckResult("sse", FAIL, f"a session could not be made: status {made.status}", _LOG)
        else:
            session = found
            yield await _stream(host, port, session, token)
            yield await _socket(host, port, session, token)
        yield await _cors(host, port, origins)
    except OSError as fault:
        yield CheckResult("requests", FAIL, str(fault), _LOG)
    finally:
        if session:
            try:
                await get(host, port, f"/callbacks/sessions/{session}", method="DELETE", token=token)
            except OSError:
                pass


async def _stream(host: str, port: int, session: str, token: str | None) -> CheckResult:
    """Opens an SSE stream, says an event for it, and looks how soon each comes through."""
    begun = time.monotonic()
    said = False
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                send(writer, request(host, port, f"/callbacks/sessions/{session}/sse", token=token))
                head = parse_head(await reader.readuntil(b"\r\n\r\n"))
                if head.status != 200:
                    return CheckResult("sse", FAIL, f"the stream was refused: status {head.status}", _LOG)
                await reader.readuntil(b"event: ready")
                took = (time.monotonic() - begun) * 1000
                said = True
                told = await get(
                    host, port, f"/callbacks/sessions/{session}/test", method="POST", body=b"{}", token=token
                )
                if told.status not in (200, 201):
                    return CheckResult("sse", WARN, f"a test event was refused: status {told.status}", _LOG)
                await reader.readuntil(str(body_of(told).get("event_id")).encode())
            finally:
                writer.close()
    except TimeoutError:
        what = "an event was said and did not arrive" if said else "nothing arrived"
        return CheckResult("sse", FAIL, f"{what} within {REQUEST_TIMEOUT:g} s", _HELD_BACK)
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as fault:
        return CheckResult("sse", FAIL, f"the stream broke off: {fault}", _HELD_BACK)
    if "content-encoding" in head.headers:
        return CheckResult("sse", WARN, "the stream is compressed on its way", _HELD_BACK)
    return CheckResult("sse", OK, f"the first bytes came after {took:.0f} ms, and an event as it was said")


async def _socket(host: str, port: int, session: str, token: str | None) -> CheckResult:
    """Asks for an upgrade to WebSocket, and waits for its first frame."""
    mend = "let the proxy speak HTTP/1.1 upstream and pass the headers Upgrade and Connection on"
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                path = f"/callbacks/sessions/{session}/ws"
                send(writer, request(host, port, path, token=token, headers=_UPGRADE))
                head = parse_head(await reader.readuntil(b"\r\n\r\n"))
                if head.status != 101:
                    return CheckResult("websocket", FAIL, f"the upgrade was answered by {head.status}", mend)
                await reader.readuntil(b"ready")
            finally:
                writer.close()
    except TimeoutError:
        return CheckResult("websocket", FAIL, f"no message within {REQUEST_TIMEOUT:g} s", mend)
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as fault:
        return CheckResult("websocket", FAIL, f"the connection broke off: {fault}", mend)
    return CheckResult("websocket", OK, "upgrades come through")


async def _cors(host: str, port: int, origins: Sequence[str]) -> CheckResult:
    """Asks as a browser does before a page of another origin may speak to the edge."""

    async def allowed(origin: str) -> bool:
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        answer = await get(host, port, "/callbacks/sessions", method="OPTIONS", headers=headers)
        return answer.status < 300 and answer.headers.get("access-control-allow-origin") in (origin, "*")

    if await allowed(STRANGER):
        if "*" in origins:
            mend = "list the origins of your pages in CALLBOARD_EDGE_ALLOWED_ORIGINS"
            return CheckResult("cors", WARN, "pages of every origin may speak to the edge", mend)
        mend = "something before the edge answers preflights itself: let it pass OPTIONS and Origin on"
        return CheckResult(
            "cors", FAIL, "a page of a foreign origin is let in, though the edge does not allow it", mend
        )
    if wanting := [origin for origin in origins if not await allowed(origin.rstrip("/"))]:
        mend = (
            "an origin is scheme, host and port, as the browser sends it; if it is, the edge runs with other settings, "
            "or a proxy takes the headers away"
        )
        return CheckResult("cors", FAIL, f"not let in: {', '.join(wanting)}", mend)
    listed = f", and {len(origins)} more" if origins else ""
    return CheckResult("cors", OK, f"pages of this server and of this machine are let in{listed}; strangers are not")
