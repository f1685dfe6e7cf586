"""Installs and runs Centrifugo as a peer to compare with, where `go` can install it from its module.

It runs with its own defaults and an in-memory broker without history; only its pings are out of the way, as ours are.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import aiohttp

from ops.bench.stand import BenchError, process
from ops.environment import child_environment, search_path
from router.nats.embedded import free_port

MODULE = "github.com/centrifugal/centrifugo/v6"
VERSION = "v6.9.1"
# Its first build compiles some hundred packages: under three minutes on two cores.
INSTALL_SECONDS = 900.0
READY_SECONDS = 20.0
# Where Go's own installer puts it, which few have on their PATH when they run a benchmark.
GO_FOLDER = "/usr/local/go/bin"


class Centrifugo(NamedTuple):
    """One that runs."""

    pid: int
    port: int


async def found(install: bool = True) -> Path | str:
    """Where its program is, installed beside this Python where it is missing; or why there is none."""
    if path := shutil.which("centrifugo", path=search_path()):
        return Path(path)
    go = shutil.which("go", path=os.pathsep.join((search_path(), GO_FOLDER)))
    if go is None:
        return "left out: neither centrifugo nor go is installed"
    if not install:
        return f"left out: `go install {MODULE}@{VERSION}` was not run"
    folder = Path(sys.executable).parent
    print(f"Installing {MODULE}@{VERSION} into {folder}: some minutes, once.", file=sys.stderr, flush=True)
    child = await asyncio.create_subprocess_exec(
        *(go, "install", f"{MODULE}@{VERSION}"),
        env=child_environment({"GOBIN": str(folder)}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(INSTALL_SECONDS):
            _, said = await child.communicate()
    except TimeoutError:
        child.kill()
        await child.wait()
        return f"left out: `go install {MODULE}@{VERSION}` took more than {INSTALL_SECONDS:g} s"
    if child.returncode:
        why = said.decode(errors="replace").strip().rpartition("\n")[2]
        return f"left out: `go install {MODULE}@{VERSION}` failed: {why[:200]}"
    return folder / "centrifugo"


def configuration(port: int) -> dict[str, object]:
    """What differs from its defaults: anybody may listen and publish, and nobody is pinged."""
    return {
        "http_server": {"address": "127.0.0.1", "port": port},
        "log": {"level": "error"},
        "usage_stats": {"disabled": True},
        "client": {"allow_anonymous_connect_without_token": True, "ping_interval": "3600s"},
        "channel": {
            "without_namespace": {"allow_subscribe_for_client": True, "allow_subscribe_for_anonymous": True},
        },
        "uni_sse": {"enabled": True},
        "http_api": {"insecure": True},
        "health": {"enabled": True},
    }


@contextlib.asynccontextmanager
async def centrifugo(binary: Path) -> AsyncIterator[Centrifugo]:
    """Runs it until the block ends."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="callboard-bench-") as name:
        file = Path(name) / "config.json"
        file.write_text(json.dumps(configuration(port)))
        async with process(str(binary), "--config", str(file)) as child:
            await _ready(child, port)
            yield Centrifugo(child.pid, port)


async def _ready(child: asyncio.subprocess.Process, port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    async with aiohttp.ClientSession() as http:
        while child.returncode is None and time.monotonic() < deadline:
            with contextlib.suppress(aiohttp.ClientError):
                async with http.get(f"http://127.0.0.1:{port}/health") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.02)
    raise BenchError("Centrifugo does not start")
