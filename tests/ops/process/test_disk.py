"""`callboard up` on a disk that fills up and is freed: it says so before and while, and writes again by itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from router.nats.embedded import EmbeddedServer, EmbeddedSettings
from tests.disks import small_disk
from tests.e2e.tree import running_tree
from tests.waiting import PATIENCE, eventually


@pytest.mark.slow
async def test_publishing_comes_back_by_itself_once_a_full_disk_has_room(tmp_path: Path, entity: str) -> None:
    with small_disk(tmp_path / "disk", 96) as disk:
        # Started in a thread: it waits for the tree with plain sleeps.
        tree = running_tree(disk.path, "--only", "edge")
        running = await asyncio.to_thread(tree.__enter__)
        try:
            async with httpx.AsyncClient(base_url=running.url, timeout=PATIENCE) as http:
                event = {"subject": f"job.{entity}.output", "data": {"text": "x" * 3000}}

                async def publish() -> tuple[int, Any]:
                    answer = await http.post("/events", json=event)
                    return answer.status_code, answer.json().get("code")

                async def ready() -> Any:
                    return (await http.get("/readyz")).json()

                async def refused() -> bool:
                    return await publish() == (503, "storage_full")

                async def accepted() -> bool:
                    return (await publish())[0] == 201

                async def is_ready() -> bool:
                    return bool((await ready())["status"] == "ok")

                await eventually(accepted, within=PATIENCE)
                # 96 MiB are little to begin with: the alarm comes before the disk is full.
                await eventually(lambda: "MiB are free on the disk" in running.said, within=PATIENCE)

                disk.fill()

                await eventually(refused, within=PATIENCE)
                assert (await ready())["store"]["code"] == "storage_full"
                await eventually(lambda: "nats-server cannot write" in running.said, within=PATIENCE)

                disk.free()

                await eventually(accepted, within=2 * PATIENCE)
                await eventually(is_ready, within=PATIENCE)
                assert "there is room again, restarting nats-server" in running.said
        finally:
            await asyncio.to_thread(tree.__exit__, None, None, None)


async def test_the_embedded_server_forces_what_it_acknowledged_to_disk_as_often_as_is_set(tmp_path: Path) -> None:
    EmbeddedServer(EmbeddedSettings(data_dir=tmp_path, sync_interval="always")).prepare()

    assert 'sync_interval: "always"' in (tmp_path / "nats-server.conf").read_text()
    with pytest.raises(ValueError, match="sync_interval"):
        EmbeddedSettings(sync_interval="often")
    assert EmbeddedSettings().sync_interval == "1s"
