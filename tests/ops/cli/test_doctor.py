"""`callboard doctor`: what it finds where nothing runs, and where everything does."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ops.cli.checks.findings import FAIL, OK, WARN
from router.nats.embedded import free_port
from tests.ops.command import callboard, doctor_findings, up
from tests.waiting import eventually


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
    def examined() -> dict[str, dict[str, str]]:
        done = callboard("doctor", "--json", "--data-dir", str(tmp_path))
        assert done.returncode == 0, done.stdout
        return doctor_findings(done.stdout)

    async def found_well() -> dict[str, dict[str, str]] | None:
        found = await asyncio.to_thread(examined)
        # A machine that is too busy to bring callbacks in time looks like one where another client takes them.
        return found if found["octane main"]["verdict"] == OK else None

    async with up(tmp_path):
        found = await eventually(found_well)

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
