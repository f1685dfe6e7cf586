"""What Ctrl-C does to a command: it cancels it between two callbacks of its event loop."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = """
import asyncio, signal
from ops.cli.interruptible import run_interruptibly

async def connecting():
    connected = asyncio.get_running_loop().create_future()

    def is_connected():
        # As asyncio's own callback of a socket that connects, with Ctrl-C between its two lines.
        if not connected.done():
            signal.raise_signal(signal.SIGINT)
            connected.set_result(None)

    asyncio.get_running_loop().call_soon(is_connected)
    await connected
    await asyncio.sleep(60)

async def stubborn():
    try:
        await connecting()
    finally:
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(60)

try:
    run_interruptibly({work}())
except KeyboardInterrupt:
    print("interrupted", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


@pytest.mark.parametrize("work", ["connecting", "stubborn"])
def test_ctrl_c_within_a_callback_cancels_the_command_without_a_word(work: str) -> None:
    program = PROGRAM.replace("{work}", work)
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (ended.stdout, ended.stderr, ended.returncode) == ("interrupted True\n", "", 0)
