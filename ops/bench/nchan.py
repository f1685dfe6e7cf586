"""Runs nginx with its nchan module as a peer to compare with, where both are installed.

It is told what to say by a POST to its publisher, as its users do; that is part of its cost, as hearing NATS is of ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import aiohttp

from ops.bench.stand import BenchError, Plan
from ops.process.children import end_with_parent
from router.nats.embedded import free_port

MODULES = (Path("/usr/lib/nginx/modules/ngx_nchan_module.so"), Path("/usr/share/nginx/modules/ngx_nchan_module.so"))
CONF = Path(__file__).parent / "peers" / "nchan.conf"


class Nginx(NamedTuple):
    """One that runs: its worker's process, its port, and a client for its publisher."""

    pid: int
    port: int
    http: aiohttp.ClientSession

    async def say(self, transport: str, text: str) -> None:
        """Publishes one message to all who listen on a transport."""
        async with self.http.post(f"/say/{transport}", data=text) as answer:
            await answer.read()


def found(plan: Plan) -> tuple[str, Path] | str:
    """Where nginx and its module are, or what is missing."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    places = [plan.nchan_module] if plan.nchan_module else list(MODULES)
    module = next((path for path in places if path.exists()), None)
    if not nginx or not module:
        return f"left out: {'nginx' if not nginx else 'libnginx-mod-nchan'} is not installed"
    return nginx, module.resolve()


@contextlib.asynccontextmanager
async def nginx(binary: str, module: Path) -> AsyncIterator[Nginx]:
    """Runs nginx with one worker until the block ends."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="callboard-bench-") as name:
        folder = Path(name)
        conf = folder / "nginx.conf"
        # Workers of a master that is root are nobody's, and nobody must be able to write there.
        if os.geteuid() == 0:
            os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
        conf.write_text(CONF.read_text().format(module=module, folder=folder, port=port))
        process = await asyncio.create_subprocess_exec(
            *(binary, "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(conf)), preexec_fn=end_with_parent()
        )
        try:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
                yield Nginx(await _worker(process, http, folder), port, http)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _worker(process: asyncio.subprocess.Process, http: aiohttp.ClientSession, folder: Path) -> int:
    """The process that serves, once it does."""
    deadline = time.monotonic() + 10
    while process.returncode is None and time.monotonic() < deadline:
        with contextlib.suppress(aiohttp.ClientError):
            async with http.get("/"):
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
                for pid in map(int, children):
                    if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        return pid
        await asyncio.sleep(0.02)
    log = folder / "error.log"
    raise BenchError(f"nginx does not start: {log.read_text().strip()[-300:] if log.exists() else 'no log'}")
