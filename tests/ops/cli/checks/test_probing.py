"""What is between the edge and its clients: proxies that hold streams back, origins that are let in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ops.cli.checks.findings import FAIL, OK, WARN
from tests.ops.command import callboard, doctor_findings, up


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
    found = doctor_findings(done.stdout)
    assert found["sse"]["verdict"] == FAIL and "buffering" in found["sse"]["mend"]
    assert found["websocket"]["verdict"] == FAIL and "Upgrade" in found["websocket"]["mend"]
    # The edge was started without that origin.
    assert found["cors"]["verdict"] == FAIL and "https://app.example" in found["cors"]["found"]


@pytest.mark.slow
async def test_origins_that_are_let_in_are_told_as_such(tmp_path: Path) -> None:
    origins = {"EDGE_ALLOWED_ORIGINS": "https://app.example,https://other.example"}
    async with up(tmp_path, "--only", "edge", **origins):
        done = await asyncio.to_thread(callboard, "doctor", "--json", DATA_DIR=str(tmp_path), **origins)

    assert doctor_findings(done.stdout)["cors"]["verdict"] == OK

    async with up(tmp_path, "--only", "edge", EDGE_ALLOWED_ORIGINS="*"):
        done = await asyncio.to_thread(callboard, "doctor", "--json", DATA_DIR=str(tmp_path), EDGE_ALLOWED_ORIGINS="*")

    assert doctor_findings(done.stdout)["cors"]["verdict"] == WARN
