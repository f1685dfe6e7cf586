"""`callboard streams`: a server that is not as declared is told, and made so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from router.broker import Broker
from router.nats.bucket import Bucket
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port
from router.topology import SESSIONS, TopologySettings
from tests.ops.command import callboard
from tests.waiting import unhurried


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[str]:
    """An empty nats-server of this test's own."""
    embedded = EmbeddedServer(EmbeddedSettings(data_dir=tmp_path, port=free_port()))
    await embedded.start()
    yield embedded.url
    await embedded.stop()


async def test_differences_are_told_then_mended_then_gone(server: str) -> None:
    before = await asyncio.to_thread(callboard, "streams", "diff", NATS_URL=server)
    applied = await asyncio.to_thread(callboard, "streams", "apply", NATS_URL=server)
    after = await asyncio.to_thread(callboard, "streams", "diff", NATS_URL=server)

    assert (before.returncode, applied.returncode, after.returncode) == (1, 0, 0)
    assert "EVENTS: missing" in before.stdout
    assert "EVENTS: made" in applied.stdout
    assert after.stdout == "all streams are as they should be\n"


async def test_a_server_without_room_for_recordings_lacks_only_what_is_optional(tmp_path: Path) -> None:
    # All but RECORDINGS take 3.2 GiB.
    embedded = EmbeddedServer(EmbeddedSettings(data_dir=tmp_path, port=free_port(), max_file="4GB"))
    await embedded.start()
    try:
        applied = await asyncio.to_thread(callboard, "streams", "apply", NATS_URL=embedded.url)
        after = await asyncio.to_thread(callboard, "streams", "diff", NATS_URL=embedded.url)
        listed = await asyncio.to_thread(callboard, "streams", "diff", "--json", NATS_URL=embedded.url)
    finally:
        await embedded.stop()

    assert (applied.returncode, after.returncode, listed.returncode) == (0, 0, 0)
    assert after.stdout == "RECORDINGS: missing (optional: without it cameras cannot record)\n"
    assert [(each["stream"], each["optional"]) for each in json.loads(listed.stdout)] == [("RECORDINGS", True)]


async def test_a_setting_that_was_changed_is_a_difference(server: str) -> None:
    await asyncio.to_thread(callboard, "streams", "apply", NATS_URL=server)

    done = await asyncio.to_thread(callboard, "streams", "diff", "--json", NATS_URL=server, EVENTS_MAX_AGE="3d")

    assert done.returncode == 1
    assert [(each["stream"], each["field"]) for each in json.loads(done.stdout)] == [("EVENTS", "max_age")]


async def test_limits_that_an_operator_has_set_are_differences_and_are_put_back(server: str) -> None:
    await asyncio.to_thread(callboard, "streams", "apply", NATS_URL=server)
    limits = {"max_msgs": 3, "max_msg_size": 100, "max_msgs_per_subject": 2}
    async with Broker(unhurried(server), "operator") as operator:
        config = (await operator.connection.api("STREAM.INFO.EVENTS"))["config"]
        await operator.connection.api("STREAM.UPDATE.EVENTS", {**config, **limits})

    before = await asyncio.to_thread(callboard, "streams", "diff", "--json", NATS_URL=server)
    applied = await asyncio.to_thread(callboard, "streams", "apply", NATS_URL=server)
    after = await asyncio.to_thread(callboard, "streams", "diff", NATS_URL=server)

    assert {each["field"]: each["have"] for each in json.loads(before.stdout)} == limits
    assert "EVENTS.max_msgs: 3 became -1" in applied.stdout
    assert after.returncode == 0, after.stdout


@pytest.mark.slow
async def test_the_room_of_buckets_is_a_setting_that_is_told_applied_and_named_by_doctor(server: str) -> None:
    await asyncio.to_thread(callboard, "streams", "apply", NATS_URL=server)
    small = {"NATS_URL": server, "BUCKETS_MAX_BYTES": "64KiB"}

    shown = await asyncio.to_thread(callboard, "settings", **small)
    before = await asyncio.to_thread(callboard, "streams", "diff", "--json", **small)
    applied = await asyncio.to_thread(callboard, "streams", "apply", **small)
    after = await asyncio.to_thread(callboard, "streams", "diff", **small)

    assert "CALLBOARD_BUCKETS_MAX_BYTES" in shown.stdout
    differences = {(each["stream"], each["field"], each["want"]) for each in json.loads(before.stdout)}
    buckets = {
        f"KV_{name}" for name in ("SESSIONS", "RULES", "ALERTS", "LEASES", "JOBS", "ENDPOINTS", "RUNS", "STATES")
    }
    assert differences == {(bucket, "max_bytes", 65536) for bucket in buckets}
    assert "KV_SESSIONS.max_bytes: 134217728 became 65536" in applied.stdout
    assert after.returncode == 0, after.stdout

    async with Broker(unhurried(server), "test", TopologySettings(buckets_max_bytes=65536)) as broker:
        await Bucket(broker.connection, SESSIONS).put("large", b"x" * 60_000)
    done = await asyncio.to_thread(callboard, "doctor", "--json", **small)
    (room,) = [each for each in json.loads(done.stdout)["findings"] if each["check"] == "room"]
    assert "KV_SESSIONS" in room["found"]
    assert "CALLBOARD_BUCKETS_MAX_BYTES" in room["mend"]


async def test_a_limit_of_zero_is_none(server: str) -> None:
    sizes = ("EVENTS", "FRAMES", "HOOKS", "DEADLETTERS", "ATTEMPTS", "PICTURES", "BUCKETS")
    unlimited = {f"{name}_MAX_BYTES": "0" for name in sizes} | {"HOOKS_PER_SESSION": "0"}

    await asyncio.to_thread(callboard, "streams", "apply", NATS_URL=server, **unlimited)
    after = await asyncio.to_thread(callboard, "streams", "diff", NATS_URL=server, **unlimited)

    assert after.returncode == 0, after.stdout + after.stderr
