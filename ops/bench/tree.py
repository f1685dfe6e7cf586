"""Measures the memory and CPU of a whole `callboard up`: at rest, and while one person watches the camera."""

from __future__ import annotations

import asyncio
import contextlib
import re
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from ops.bench.report import ReportRow
from ops.bench.stand import BenchError, CpuWatch, Plan, process, resident
from ops.launch import own_argv
from router.nats.embedded import free_port

READY_SECONDS = 40.0
# The camera's viewers are counted with a lease; how long until pictures come, and until all is quiet after the start.
SETTLING = 2.0


async def run(plan: Plan) -> AsyncIterator[ReportRow]:
    """Starts a tree, and looks at it twice."""
    with tempfile.TemporaryDirectory(prefix="callboard-bench-") as folder:
        port = free_port()
        began = time.monotonic()
        settings = {
            "CALLBOARD_EDGE_PORT": str(port),
            "CALLBOARD_EMBEDDED_PORT": str(free_port()),
            "CALLBOARD_SIMULATOR_PORT": str(free_port()),
        }
        async with process(*own_argv("up", "--data-dir", folder), variables=settings, piped=True) as up:
            assert up.stdout is not None
            async with asyncio.timeout(READY_SECONDS):
                while b"Ctrl-C ends it" not in (said := await up.stdout.readline()):
                    if not said:
                        raise BenchError("callboard up ended; look at what it said above")
            yield ReportRow("tree", "`callboard up` until it is ready", "s", [time.monotonic() - began])
            await asyncio.sleep(SETTLING)
            for row in await _weighed(up.pid, "at rest", plan.seconds * 2):
                yield row
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
                pictures = asyncio.ensure_future(_view(http, SETTLING + plan.seconds * 2))
                await asyncio.sleep(SETTLING)
                rows = await _weighed(up.pid, "one camera viewer", plan.seconds * 2)
                rate = await pictures
            for row in rows:
                yield row
            yield ReportRow("tree", "pictures the viewer got", "a second", [rate])


async def _weighed(root: int, when: str, seconds: float) -> list[ReportRow]:
    pids = {"up": root, **_children(root)}
    watch = CpuWatch(**pids)
    await asyncio.sleep(seconds)
    shares = watch.shares()
    sizes = {name: resident(pid) for name, pid in pids.items()}
    own = sum(_proportional(pid) for pid in pids.values())
    each = ", ".join(f"{name} {size / 1e6:.0f}" for name, size in sizes.items())
    return [
        ReportRow("tree", f"CPU of the tree, {when}", "% of a core", [100 * sum(shares.values())], busy=shares),
        ReportRow(
            "tree",
            f"memory of the tree, {when}",
            "MB",
            [sum(sizes.values()) / 1e6],
            note=f"{own / 1e6:.0f} MB with shared pages counted once; {each}",
        ),
    ]


def _children(root: int) -> dict[str, int]:
    found = {}
    for pid in map(int, Path(f"/proc/{root}/task/{root}/children").read_text().split()):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
            at = words.index("ops") if "ops" in words else None
            name = Path(words[0]).name if at is None else " ".join(words[at + 1 : at + 3]).split()[-1]
            found["simulator" if at is not None and words[at + 1] == "simulate" else name] = pid
    return {"edge" if name.startswith("-") else name: pid for name, pid in found.items()}


def _proportional(pid: int) -> int:
    """Bytes of memory with each shared page divided by the processes that share it."""
    found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else resident(pid)


async def _view(http: aiohttp.ClientSession, seconds: float) -> float:
    """Watches the camera and throws its pictures away; how many came a second, once the first was there."""
    count, began, until = 0, 0.0, time.monotonic() + seconds
    async with http.get("/cameras/main/mjpeg") as answer:
        async for some in answer.content.iter_any():
            if starts := some.count(b"--callboard-frame"):
                began = began or time.monotonic()
                count += starts
            if time.monotonic() > until:
                break
    if count < 2:
        raise BenchError("the camera's viewer got no pictures")
    return (count - 1) / (time.monotonic() - began)
