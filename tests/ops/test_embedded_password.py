"""The embedded NATS asks for a password of its own where keys are configured, and every command of this user knows it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from router.broker import Broker
from router.nats.embedded import free_port, password_of
from router.nats.settings import BrokerSettings
from tests.ops.command import callboard, family, up
from tests.servers import refusal
from tests.waiting import eventually, unhurried

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")

SECRET = "0123456789abcdef0123456789abcdef"


def _stranger(port: int) -> BrokerSettings:
    return unhurried(f"nats://127.0.0.1:{port}")


@pytest.mark.slow
async def test_with_keys_nobody_gets_in_without_the_password_and_every_command_has_it(tmp_path: Path) -> None:
    data, port = tmp_path / "data", free_port()
    # An existing data folder of an earlier version: its files may be read by everybody.
    data.mkdir()
    for name in ("nats-server.conf", "nats.url"):
        (data / name).write_text("")
        (data / name).chmod(0o644)
    keys = {"JWT_SECRET": SECRET, "EMBEDDED_PORT": str(port)}

    async with up(data, "--only", "agent", **keys) as running:
        assert "authorization" in (await refusal(_stranger(port))).lower()

        password = (data / "nats.password").read_text().strip()
        for name in ("nats.password", "nats-server.conf", "nats.url"):
            assert (data / name).stat().st_mode & 0o777 == 0o600, name
        mine = {"DATA_DIR": str(data), "JWT_SECRET": SECRET}
        for command in (
            ("publish", "metric.one.read", '{"n": 1}'),
            ("run", "--job", "two", "--", "true"),
            ("streams", "diff"),
            ("tail", ">", "--last", "1", "--no-follow"),
        ):
            done = callboard(*command, **mine)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
            assert "unreachable" not in done.stderr.lower() and "no NATS" not in done.stderr, (command, done.stderr)
        found = callboard("doctor", "--json", **mine).stdout
        assert "with JetStream" in found
        shown = callboard("settings", **mine).stdout

        said = running.out + running.err + found + shown + "".join(family(data).values())
        said += "".join(path.read_text(errors="replace") for path in data.rglob("*.log"))
        assert password and password not in said

    # Another start with the same password finds what the first one stored.
    async with up(data, "--only", "agent", **keys):
        assert (data / "nats.password").read_text().strip() == password
        seen = callboard("tail", "metric.one.>", "--last", "1", "--no-follow", DATA_DIR=str(data), JWT_SECRET=SECRET)
        assert seen.returncode == 0 and "metric.one.read" in seen.stdout, seen


async def test_without_keys_it_stays_open_on_loopback(tmp_path: Path) -> None:
    port = free_port()
    # How to log in to another NATS says nothing about this one.
    other = {"NATS_USER": "me", "NATS_PASSWORD": "s3cret"}

    async with up(tmp_path / "data", "--only", "agent", EMBEDDED_PORT=str(port), **other):
        stranger = Broker(_stranger(port), "stranger")
        await stranger.open()
        await stranger.close()
        assert not (tmp_path / "data" / "nats.password").exists()


async def test_a_nats_server_that_was_killed_comes_back_with_its_password(tmp_path: Path) -> None:
    data, port = tmp_path / "data", free_port()
    async with up(data, "--only", "agent", JWT_SECRET=SECRET, EMBEDDED_PORT=str(port)):
        own = unhurried((data / "nats.url").read_text().strip())
        async with Broker(own, "test") as broker:
            server = next(pid for pid, line in family(data).items() if line.split()[0].endswith("nats-server"))
            os.kill(server, 9)

            await eventually(lambda: broker.connection.reconnects > 0)

        assert "authorization" in (await refusal(_stranger(port))).lower()


def test_a_password_that_others_may_have_read_is_made_anew(tmp_path: Path) -> None:
    first = password_of(tmp_path)
    assert password_of(tmp_path) == first

    (tmp_path / "nats.password").chmod(0o644)
    second = password_of(tmp_path)
    (tmp_path / "nats.password").write_text("")
    third = password_of(tmp_path)

    assert len({first, second, third}) == 3
    assert (tmp_path / "nats.password").stat().st_mode & 0o777 == 0o600
