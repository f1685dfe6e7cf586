"""`callboard doctor`: what it finds where nothing runs, and where everything does."""

from __future__ import annotations

import asyncio
import email.utils
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edge.webhooks.queue.job import PARTITIONS
from ops.cli import doctor
from ops.cli.doctor import _clock, _partitions
from ops.cli.findings import FAIL, OK, WARN
from router.broker import Broker
from router.cluster.ownership import member_key, owner_key, owner_value
from router.limits import largest_event
from router.nats.bucket import Bucket
from router.nats.embedded import free_port
from router.nats.settings import BrokerSettings
from router.topology import LEASES
from tests.ops.command import callboard, up
from tests.servers import running_server, serving_small


def _findings(text: str) -> dict[str, dict[str, str]]:
    return {finding["check"]: finding for finding in json.loads(text)["findings"]}


def test_where_nothing_runs_it_says_what_to_start(tmp_path: Path) -> None:
    done = callboard(
        "doctor",
        "--json",
        DATA_DIR=str(tmp_path / "data"),
        NATS_URL=f"nats://127.0.0.1:{free_port()}",
        NATS_CONNECT_TIMEOUT="1",
        EDGE_PORT=str(free_port()),
    )

    assert done.returncode == 1
    found = _findings(done.stdout)
    assert found["nats"]["verdict"] == FAIL and "callboard up" in found["nats"]["mend"]
    assert found["edge"]["verdict"] == WARN
    assert found["python"]["verdict"] == OK
    assert not (tmp_path / "data").exists()


async def test_where_all_runs_it_finds_nothing_to_mend(tmp_path: Path) -> None:
    async with up(tmp_path):
        done = await asyncio.to_thread(callboard, "doctor", "--json", "--data-dir", str(tmp_path))

    assert done.returncode == 0, done.stdout
    found = _findings(done.stdout)
    for check in (
        "nats",
        "streams",
        "edge",
        "round trip",
        "room",
        "partitions",
        "NATS clock",
        "descriptors",
        "sse",
        "websocket",
        "cors",
        "clock",
        "actor camera",
        "actor agent",
        "actor alerts",
        "actor octane",
    ):
        assert found[check]["verdict"] == OK, found[check]


async def test_clocks_that_differ_are_told() -> None:
    def date(off: float) -> str:
        return email.utils.formatdate(time.time() + off, usegmt=True)

    assert (await _clock(date(0))).verdict == OK
    assert (await _clock(date(4))).verdict == WARN
    assert (await _clock(date(-60))).verdict == FAIL


@asynccontextmanager
async def _holding_back(upstream: int) -> AsyncIterator[int]:
    """A proxy as many are set up: it speaks HTTP, knows no upgrades, and passes an answer on once it has all of it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            asked = [line for line in head.split(b"\r\n") if not line.lower().startswith((b"upgrade:", b"connection:"))]
            there, back = await asyncio.open_connection("127.0.0.1", upstream)
            try:
                back.write(b"\r\n".join([asked[0], b"Connection: close", *asked[1:]]))
                length = next(
                    (int(line.split(b":")[1]) for line in asked if line.lower().startswith(b"content-length")), 0
                )
                back.write(await reader.readexactly(length))
                writer.write(await there.read(-1))
            finally:
                back.close()
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    tasks: set[asyncio.Task[None]] = set()

    async def tracked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        await serve(reader, writer)

    server = await asyncio.start_server(tracked, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_proxy_that_holds_streams_back_and_pages_that_are_not_let_in_are_found(tmp_path: Path) -> None:
    async with up(tmp_path, "--only", "edge"):
        port = int((tmp_path / "edge.url").read_text().rsplit(":", 1)[1])
        async with _holding_back(port) as proxy:
            done = await asyncio.to_thread(
                callboard,
                "doctor",
                "--json",
                DATA_DIR=str(tmp_path),
                EDGE_URL=f"http://127.0.0.1:{proxy}",
                EDGE_ALLOWED_ORIGINS="https://app.example",
            )

    assert done.returncode == 1
    found = _findings(done.stdout)
    assert found["sse"]["verdict"] == FAIL and "buffering" in found["sse"]["mend"]
    assert found["websocket"]["verdict"] == FAIL and "Upgrade" in found["websocket"]["mend"]
    # The edge was started without that origin.
    assert found["cors"]["verdict"] == FAIL and "https://app.example" in found["cors"]["found"]


async def test_origins_that_are_let_in_are_told_as_such(tmp_path: Path) -> None:
    origins = {"EDGE_ALLOWED_ORIGINS": "https://app.example,https://other.example"}
    async with up(tmp_path, "--only", "edge", **origins):
        done = await asyncio.to_thread(callboard, "doctor", "--json", DATA_DIR=str(tmp_path), **origins)

    assert _findings(done.stdout)["cors"]["verdict"] == OK

    async with up(tmp_path, "--only", "edge", EDGE_ALLOWED_ORIGINS="*"):
        done = await asyncio.to_thread(callboard, "doctor", "--json", DATA_DIR=str(tmp_path), EDGE_ALLOWED_ORIGINS="*")

    assert _findings(done.stdout)["cors"]["verdict"] == WARN


NARROW = """
listen: 127.0.0.1:{port}
jetstream {{ store_dir: "{folder}" }}
authorization {{
  users: [
    {{ user: all, password: all }}
    {{ user: narrow, password: narrow, permissions: {{
        publish: [ "$JS.API.STREAM.NAMES", "$SRV.>" ], subscribe: [ "_INBOX.>" ] }} }}
  ]
}}
"""


async def test_rights_that_are_missing_and_a_secret_that_others_may_read_are_found(tmp_path: Path) -> None:
    port, seed = free_port(), tmp_path / "seed"
    seed.write_text("SUAOPENTOALL")
    seed.chmod(0o644)
    with running_server(tmp_path, NARROW.format(port=port, folder=tmp_path / "store")):
        url = {"NATS_URL": f"nats://127.0.0.1:{port}"}
        made = await asyncio.to_thread(callboard, "streams", "apply", **url, NATS_USER="all", NATS_PASSWORD="all")
        assert made.returncode == 0, made.stderr
        done = await asyncio.to_thread(
            callboard, "doctor", "--json", **url, NATS_USER="narrow", NATS_PASSWORD="narrow", NATS_REQUEST_TIMEOUT="1",
            DATA_DIR=str(tmp_path / "data"),
        )  # fmt: skip
    assert done.returncode == 1, done.stdout
    found = _findings(done.stdout)
    assert found["nats"]["verdict"] == OK
    assert found["permissions"]["verdict"] == FAIL and "accounts.conf" in found["permissions"]["mend"]

    with_seed = await asyncio.to_thread(
        callboard, "doctor", "--json", NATS_NKEY_SEED=str(seed), NATS_URL=f"nats://127.0.0.1:{free_port()}",
        DATA_DIR=str(tmp_path / "data"),
    )  # fmt: skip
    found = _findings(with_seed.stdout)
    assert found["NATS nkey seed"]["verdict"] == WARN and "chmod" in found["NATS nkey seed"]["mend"]


@pytest.mark.parametrize(("max_payload", "verdict"), [(1024 * 1024, "ok"), (10_000, "warn"), (4096, "fail")])
async def test_what_the_server_takes_and_how_large_an_event_may_be_is_said(
    tmp_path: Path, max_payload: int, verdict: str
) -> None:
    with serving_small(tmp_path, max_payload) as server:
        done = await asyncio.to_thread(callboard, "doctor", "--json", NATS_URL=server.url, DATA_DIR=str(tmp_path / "d"))

    (found,) = [each for each in json.loads(done.stdout)["findings"] if each["check"] == "event size"]
    assert found["verdict"] == verdict
    assert f"{max_payload:,} bytes a message" in found["found"]
    assert f"{largest_event(max_payload):,}" in found["found"]


async def test_webhook_partitions_without_an_owner_that_lives_are_found(
    own_nats: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "HAND_OVER", 0.0)
    async with Broker(BrokerSettings(url=own_nats), "test") as broker:
        bucket = Bucket(broker.connection, LEASES)
        assert (await _partitions(broker)).verdict == WARN

        await bucket.put(member_key("edge"), b"1", 3600)
        for partition in range(PARTITIONS):
            await bucket.put(owner_key(partition), owner_value("edge"))
        assert (await _partitions(broker)).verdict == OK

        await bucket.put(owner_key(3), owner_value(""))
        await bucket.put(owner_key(9), owner_value("killed"))
        await bucket.delete(owner_key(11))
        found = await _partitions(broker)

    assert found.verdict == FAIL and "3 of 16" in found.found and "(3, 9, 11)" in found.found
    assert "restart" in found.mend
