"""The internal port of a process."""

from __future__ import annotations

import asyncio
import logging

import pytest

from ops.process.datadir import CannotStart
from ops.process.http import get
from ops.process.internal import HEAD_BYTES, Internal
from ops.sections import InternalSettings
from router.codec import from_json
from router.nats.embedded import free_port


async def test_it_answers_liveness_and_readiness_with_its_checks() -> None:
    port = free_port()
    internal = Internal(InternalSettings(port))
    async with internal.serving():
        starting = await get("127.0.0.1", port, "/readyz")
        internal.checks = lambda: {"nats": True}
        internal.details = lambda: {"workers": 2}
        ready = await get("127.0.0.1", port, "/readyz")
        live = await get("127.0.0.1", port, "/livez")
        head = await get("127.0.0.1", port, "/missing")

    assert (starting.status, from_json(starting.body)["checks"]) == (503, {"started": False})
    assert (ready.status, from_json(ready.body)) == (200, {"status": "ok", "checks": {"nats": True}, "workers": 2})
    assert (live.status, head.status) == (200, 404)


async def test_metrics_are_given_in_the_format_that_is_accepted() -> None:
    port = free_port()
    async with Internal(InternalSettings(port)).serving():
        plain = await get("127.0.0.1", port, "/metrics")
        chosen = await get(
            "127.0.0.1", port, "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
        )

    assert plain.headers["content-type"].startswith("text/plain") and b"# TYPE" in plain.body
    assert chosen.headers["content-type"].startswith("application/openmetrics-text")
    assert chosen.body.endswith(b"# EOF\n")


async def test_levels_are_read_and_set_and_a_mistake_is_a_problem() -> None:
    port = free_port()
    logger = logging.getLogger("edge.internal_test")
    async with Internal(InternalSettings(port)).serving():
        changed = await get("127.0.0.1", port, "/logs?logger=edge.internal_test&level=debug", method="PUT")
        wrong = await get("127.0.0.1", port, "/logs?logger=edge.internal_test&level=loud", method="PUT")
        other = await get("127.0.0.1", port, "/livez", method="DELETE")

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
