"""Requests that a process makes without a client library."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from ops.process.http import Unanswered, get, parse_head, request
from router.nats.embedded import free_port
from tests.waiting import PATIENCE


@contextlib.asynccontextmanager
async def answering(answer: bytes, asked: list[bytes]) -> AsyncIterator[int]:
    """A server that gives one answer to every request; its port."""

    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writers.append(writer)
        if answer:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await asyncio.sleep(0)


async def test_an_answer_has_status_headers_and_body() -> None:
    asked: list[bytes] = []
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\nhi", asked) as port:
        answer = await get("127.0.0.1", port, "/livez", timeout=PATIENCE, token="t")

    assert (answer.status, answer.headers["x-a"], answer.body) == (200, "b", b"hi")
    assert b"GET /livez HTTP/1.1" in asked[0] and b"Authorization: Bearer t" in asked[0]


async def test_what_is_no_http_and_what_does_not_answer_are_told_apart() -> None:
    async with answering(b"-ERR who are you\r\n\r\n", []) as port:
        with pytest.raises(Unanswered, match="does not speak HTTP"):
            await get("127.0.0.1", port, "/", timeout=PATIENCE)
    async with answering(b"", []) as port:
        with pytest.raises(Unanswered, match=r"no answer within 0\.05 s"):
            await get("127.0.0.1", port, "/", timeout=0.05)
    with pytest.raises(ConnectionRefusedError, match="connection refused"):
        await get("127.0.0.1", free_port(), "/")


def test_a_request_with_a_body_says_how_long_it_is() -> None:
    made = request("::1", 80, "/events", "POST", b"{}")

    assert made.startswith(b"POST /events HTTP/1.1\r\nHost: [::1]:80\r\n")
    assert b"Content-Length: 2\r\n" in made and made.endswith(b"\r\n\r\n{}")


def test_a_head_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="SSH"):
        parse_head(b"SSH-2.0-x\r\n\r\n")
