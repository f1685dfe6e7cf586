"""The data folder has one `callboard up` at a time."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.ops.command import callboard, up

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


def test_a_data_folder_that_is_a_file_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")

    done = callboard("up", "--only", "agent", "--data-dir", str(tmp_path / "data"))

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "cannot be used" in done.stderr and "--data-dir" in done.stderr


async def test_a_second_start_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    async with up(tmp_path, "--only", "camera"):
        done = await asyncio.to_thread(callboard, "up", "--data-dir", str(tmp_path))

        assert done.returncode == 1
        assert "already runs" in done.stderr
