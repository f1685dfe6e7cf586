"""`callboard health`: who is asked, and what is said of one that is not ready."""

from __future__ import annotations

import asyncio

import pytest

from ops.cli.health import run_health, store_text, where
from ops.environment import RawValue
from ops.process.internal import Internal
from ops.sections import InternalSettings
from ops.settings import Settings
from router.nats.embedded import free_port


def made(**variables: str) -> Settings:
    flags = {f"CALLBOARD_{name}": RawValue(text, "flag", name) for name, text in variables.items()}
    return Settings.load("edge", flags=flags, adopt=())


def test_the_internal_port_is_asked_where_there_is_one() -> None:
    assert where(made(INTERNAL_PORT="9090", INTERNAL_HOST="0.0.0.0", EDGE_PORT="9000")) == ("127.0.0.1", 9090)
    assert where(made(EDGE_PORT="9000")) == ("127.0.0.1", 9000)


@pytest.mark.parametrize("well", [True, False])
async def test_the_checks_that_fail_are_named(well: bool, capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    internal = Internal(InternalSettings(port))
    internal.checks = lambda: {"nats": well, "events": True}

    async with internal.serving():
        # It runs a loop of its own, as the command does.
        code = await asyncio.to_thread(run_health, made(INTERNAL_PORT=str(port)))
    said = capsys.readouterr()

    assert (code, said.out, said.err) == ((0, "ready\n", "") if well else (1, "", "not ready: nats\n"))


def test_streams_that_take_no_writes_are_told_with_their_reason() -> None:
    store = {"code": "storage_full", "streams": {"EVENTS": {"text": "no space left"}}}

    assert store_text(store) == " (storage_full: EVENTS: no space left)"
    assert store_text({"code": "ok", "streams": {}}) == store_text(None) == ""
