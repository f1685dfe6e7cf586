"""Ctrl-C under make."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from pathlib import Path

import pytest

from router.nats.embedded import free_port
from tests.ops.command import environment, family
from tests.waiting import eventually, in_time

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


async def test_under_make_ctrl_c_does_not_reach_make(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(
        f"up:\n\t@{sys.executable} -m ops up --only camera --data-dir {tmp_path / 'data'}\n"
    )
    controller, terminal = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        "setsid",
        "--ctty",
        "--wait",
        "make",
        "-C",
        str(tmp_path),
        "up",
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=environment({"CALLBOARD_EMBEDDED_PORT": str(free_port())}),
    )
    os.close(terminal)
    os.set_blocking(controller, False)
    said = b""

    def read() -> bool:
        nonlocal said
        try:
            said += os.read(controller, 65536)
        except OSError:
            pass
        return b"Ctrl-C ends it" in said

    try:
        await eventually(read)

        os.write(controller, b"\x03")

        code = await in_time(process.wait())
        read()
        assert code == 0, said.decode()
        assert b"Error" not in said, said.decode()
        assert not family(tmp_path)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(controller)
