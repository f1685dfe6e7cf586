"""The internal port of a process."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct

import pytest

from ops.process.datadir import CannotStart
from ops.process.http import get
from ops.process.internal import HEAD_BYTES, Internal, _own
from ops.sections import InternalSettings
from router.codec import from_json
from router.nats.embedded import free_port
from router.version import VERSION
from tests.waiting import PATIENCE, eventually


async def test_it_answers_liveness_and_readiness_with_its_checks() -> None:
    port = free_port()
    internal = Internal(InternalSettings(port))
    async with internal.serving():
        starting = await get("127.0.0.1", port, "/readyz", timeout=PATIENCE)
        internal.checks = lambda: {"nats": True}
        internal.details = lambda: {"workers": 2}
        ready = await get("127.0.0.1", port, "/readyz", timeout=PATIENCE)
        live = await get("127.0.0.1", port, "/livez", timeout=PATIENCE)
        head = await get("127.0.0.1", port, "/missing", timeout=PATIENCE)

    assert (starting.status, from_json(starting.body)["checks"]) == (503, {"started": False})
    assert (ready.status, from_json(ready.body)) == (200, {"status": "ok", "checks": {"nats": True}, "workers": 2})
    assert (live.status, head.status) == (200, 404)
    assert from_json(live.body) == {"status": "ok", "version": VERSION}


async def test_metrics_are_given_in_the_format_that_is_accepted() -> None:
    port = free_port()
    async with Internal(InternalSettings(port)).serving():
        plain = await get("127.0.0.1", port, "/metrics", timeout=PATIENCE)
        chosen = await get(
            "127.0.0.1",
            port,
            "/metrics",
            timeout=PATIENCE,
            headers={"Accept": "application/openmetrics-text; version=1.0.0"},
        )

    assert plain.headers["content-type"].startswith("text/plain") and b"# TYPE" in plain.body
    assert chosen.headers["content-type"].startswith("application/openmetrics-text")
    assert chosen.body.endswith(b"# EOF\n")


async def test_levels_are_read_and_set_and_a_mistake_is_a_problem() -> None:
    port = free_port()
    logger = logging.getLogger("edge.internal_test")
    async with Internal(InternalSettings(port)).serving():
        changed = await get(
            "127.0.0.1", port, "/logs?logger=edge.internal_test&level=debug", timeout=PATIENCE, method="PUT"
        )
        wrong = await get(
            "127.0.0.1", port, "/logs?logger=edge.internal_test&level=loud", timeout=PATIENCE, method="PUT"
        )
        other = await get("127.0.0.1", port, "/livez", timeout=PATIENCE, method="DELETE")

    assert (changed.status, logger.level) == (200, logging.DEBUG)
    assert (wrong.status, from_json(wrong.body)["code"]) == (400, "bad_level")
    assert other.status == 405
    logger.setLevel(logging.NOTSET)


async def test_a_head_that_is_too_long_gets_no_answer() -> None:
    port = free_port()
    async with Internal(InternalSettings(port)).serving():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nX: " + b"x" * 3 * HEAD_BYTES)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readuntil(b"\r\n\r\n")
        writer.close()


async def test_without_a_port_it_serves_nothing_and_on_a_taken_one_it_says_so() -> None:
    async with Internal(InternalSettings()).serving() as internal:
        assert not internal.wanted
    port = free_port()
    async with Internal(InternalSettings(port)).serving():
        with pytest.raises(CannotStart, match="CALLBOARD_INTERNAL_PORT"):
            async with Internal(InternalSettings(port)).serving():
                raise AssertionError("served twice on one port")


async def test_a_request_that_is_open_at_the_end_is_closed_without_an_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ops.process.internal.REQUEST_TIMEOUT", 10 * PATIENCE)
    port, asked = free_port(), asyncio.Event()

    async def never(_accepted: str) -> tuple[bytes, str]:
        asked.set()
        return await asyncio.get_running_loop().create_future()

    internal = Internal(InternalSettings(port))
    internal.metrics = never
    async with internal.serving():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
        await asked.wait()

    async with asyncio.timeout(PATIENCE):
        assert await reader.read() == b""
    writer.close()
    assert not caplog.records


async def test_a_client_that_is_gone_before_its_answer_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    port, asked, gone = free_port(), asyncio.Event(), asyncio.Event()

    async def late(_accepted: str) -> tuple[bytes, str]:
        asked.set()
        await gone.wait()
        return b"", "text/plain"

    internal = Internal(InternalSettings(port))
    internal.metrics = late
    async with internal.serving():
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            await asked.wait()
        await asyncio.sleep(0.1)  # the reset is read, and the socket closed
        gone.set()
        await eventually(lambda: not internal._connections)
        internal.metrics = _own
        answer = await get("127.0.0.1", port, "/metrics", timeout=PATIENCE)

    assert answer.status == 200
    assert not caplog.records
