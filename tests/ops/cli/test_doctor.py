"""`callboard doctor`: what it finds where nothing runs, and where everything does."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ops.cli.checks.findings import FAIL, OK, WARN
from router.nats.embedded import free_port
from tests.ops.command import callboard, doctor_findings, up


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
    found = doctor_findings(done.stdout)
    assert found["nats"]["verdict"] == FAIL and "callboard up" in found["nats"]["mend"]
    assert found["edge"]["verdict"] == WARN
    assert found["python"]["verdict"] == OK
    assert not (tmp_path / "data").exists()


async def test_where_all_runs_it_finds_nothing_to_mend(tmp_path: Path) -> None:
    async with up(tmp_path):
        done = await asyncio.to_thread(callboard, "doctor", "--json", "--data-dir", str(tmp_path))

    assert done.returncode == 0, done.stdout
    found = doctor_findings(done.stdout)
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
        "alert rules",
        "actor octane",
        "octane main",
    ):
        assert found[check]["verdict"] == OK, found[check]
