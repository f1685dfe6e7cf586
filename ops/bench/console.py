"""Measures the console's events in chromium at 1,000 events a second: work of the main thread for a frame, frames, memory.

A `callboard up`, demo included, and a page of it that shows the whole stream. The work is the CPU time of the page's main
thread, of everything that it does (reading, drawing, layout, the frame's own rest); a trace of some seconds says how it is
spread over frames. Before anything is measured the list has been filled to what it keeps, so the heap is to stay as it is.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import statistics
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from ops.bench.chromium import ChromiumPage, chromium_page, found
from ops.bench.report import ReportRow
from ops.bench.stand import BenchError, Partner, Plan, partner, process
from ops.launch import own_argv
from ops.process.children import end_with_parent
from router.nats.embedded import EmbeddedServer, EmbeddedSettings, free_port

RATE = 1_000
SUBJECT = "job.bench-console.said"
# Three stretches of a minute where all is measured; else some seconds each.
STRETCHES = 3
STRETCH = 60.0
TRACE = 10.0
# What the list keeps.
KEPT = 20_000
# (ms) What the console itself takes for a frame that is late.
LONG = 50.0
START_SECONDS = 60.0
# For what is asked of the page between the stretches.
SLACK_SECONDS = 10.0

# Counts frames, and how long the late ones took.
COUNTING = """(() => {
  const seen = (globalThis.benchFrames = { count: 0, late: 0, worst: 0, last: 0 });
  const next = (now) => {
    const took = now - (seen.last || now);
    seen.last = now;
    seen.count += 1;
    if (took > %f) seen.late += 1;
    seen.worst = Math.max(seen.worst, took);
    requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
})()"""


@dataclass
class ConsoleRun:
    """What was measured: of each stretch its work (ms a frame) and frames a second; of frames of the trace their work (ms)."""

    work: list[float] = field(default_factory=list)
    frames: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    worst: float = 0.0
    heap: list[float] = field(default_factory=list)
    traced: list[float] = field(default_factory=list)
    slowed: bool = False


async def run(plan: Plan) -> AsyncIterator[ReportRow]:
    """Measures one page for three minutes where all is measured, and for some seconds else."""
    binary = found()
    if not binary:
        yield ReportRow("console", "the console's events", note="left out: chromium is not installed")
        return
    seconds = STRETCH if plan.full else 4 * plan.seconds
    async with up() as (url, producer), chromium_page(binary) as page:
        measured = await _measure(page, producer, url, seconds)
    what = f"console at {RATE:,} events/s"
    more = "; it asked the server for less" if measured.slowed else ""
    yield ReportRow("console", f"{what}, main thread for a frame, mean", "ms", measured.work, note=f"CPU time{more}")
    for name, share in (("median", 0.5), ("p95", 0.95), ("p99", 0.99)):
        figure = ranked(measured.traced, share)
        yield ReportRow("console", f"{what}, main thread for a frame, {name}", "ms", [figure], note="by a trace")
    yield ReportRow("console", f"{what}, frames", "fps", measured.frames, note=f"longest {measured.worst:.0f} ms")
    yield ReportRow("console", f"{what}, frames over {LONG:.0f} ms", "%", measured.late)
    heap = [each / 1e6 for each in measured.heap]
    change = f"{heap[0]:.1f} MB at first, {heap[-1]:.1f} MB at last"
    yield ReportRow("console", f"{what}, JavaScript heap after collection", "MB", heap, note=change)


@contextlib.asynccontextmanager
async def up() -> AsyncIterator[tuple[str, Partner]]:
    """Runs `callboard up` with a producer beside it; gives its address and the producer."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="callboard-bench-")))
        nats = EmbeddedServer(EmbeddedSettings(folder, free_port()), end_with_parent())
        await nats.start()
        stack.push_async_callback(nats.stop)
        port, url = free_port(), ""
        argv = own_argv("up", "--port", str(port), "--data-dir", str(folder / "up"), "--nats-url", nats.url)
        child = await stack.enter_async_context(process(*argv, variables={"CALLBOARD_LOG_LEVEL": "error"}))
        url = f"http://127.0.0.1:{port}"
        await _ready(url, child)
        progress = folder / "progress"
        progress.write_bytes(bytes(8))
        yield url, await stack.enter_async_context(partner("producer", nats.url, str(progress)))


async def _ready(url: str, child: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_SECONDS), aiohttp.ClientSession(url) as http:
            while child.returncode is None:
                with contextlib.suppress(aiohttp.ClientError):
                    async with http.get("/readyz") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.1)
    raise BenchError("callboard up is not ready")


async def _measure(page: ChromiumPage, producer: Partner, url: str, seconds: float) -> ConsoleRun:
    await page.ask("Page.enable")
    await page.ask("Page.navigate", url=f"{url}/console/events")
    await page.until("globalThis.callboard?.events?.log.live && !callboard.events.log.busy.back")
    await page.evaluate(COUNTING % LONG)
    measured = ConsoleRun()
    # Fills the list first: until then memory is expected to grow.
    filling = KEPT * 1.1
    count = int(filling + RATE * (STRETCHES * seconds + TRACE + SLACK_SECONDS))
    await asyncio.gather(_publish(producer, count), _watch(page, filling, seconds, measured))
    await page.until("callboard.events.log.newest - callboard.events.log.to < 100")
    measured.slowed = bool(await page.evaluate("!document.querySelector('#stream .slowed').hidden"))
    gaps = await page.evaluate(MISSED)
    if gaps and not measured.slowed:
        raise BenchError(f"{gaps} events are missing in the list")
    return measured


async def _publish(producer: Partner, count: int) -> None:
    """Publishes so many events at the rate, a minute at a time: a partner answers within three."""
    for begun in range(0, count, 60 * RATE):
        await producer.ask("pace", subject=SUBJECT, rate=RATE, count=min(60 * RATE, count - begun))


# The events of one subject stand one behind the other, but for the demo's between them: `at` never goes back, and a second
# has as many as were published.
MISSED = f"""(() => {{
  const own = callboard.events.log.entries.filter(({{ event }}) => event?.subject === "{SUBJECT}");
  const spans = own.length / ((own.at(-1).at - own[0].at) / 1000);
  return spans < {RATE} * 0.97 ? Math.round({RATE} - spans) : 0;
}})()"""


async def _watch(page: ChromiumPage, filling: float, seconds: float, measured: ConsoleRun) -> None:
    await page.until(f"callboard.events.log.entries.length >= {KEPT}", 2 * filling / RATE)
    measured.heap.append(await page.heap())
    for _ in range(STRETCHES):
        await _stretch(page, seconds, measured)
        measured.heap.append(await page.heap())
    measured.traced = frame_work(await page.trace(TRACE))


async def _stretch(page: ChromiumPage, seconds: float, measured: ConsoleRun) -> None:
    clock = asyncio.get_running_loop().time
    # The heap has just been collected for its measurement: the frame that waited for that is none of the page's own.
    await page.evaluate("Object.assign(benchFrames, { count: 0, late: 0, worst: 0, last: 0 })")
    began, spent = clock(), await page.task_seconds()
    await asyncio.sleep(seconds)
    spent, passed = await page.task_seconds() - spent, clock() - began
    seen = await page.evaluate("benchFrames")
    if not seen["count"]:
        raise BenchError("the page has drawn no frame")
    measured.work.append(1000 * spent / seen["count"])
    measured.frames.append(seen["count"] / passed)
    measured.late.append(100 * seen["late"] / seen["count"])
    measured.worst = max(measured.worst, seen["worst"])


def frame_work(trace: Sequence[dict[str, Any]]) -> list[float]:
    """CPU time (ms) of the page's main thread from the end of one frame's drawing to the end of the next one's, of all whole frames.

    A frame is drawn by the task that commits it. `AnimationFrame` says less: it begins within the task that drew the frame
    before or with the task after it, so that two drawings may fall between two of them.
    """
    drawn = [each for each in trace if each["name"] == "Commit" and each["ph"] == "X"]
    if not drawn:
        raise BenchError("the trace shows no frame")
    # The page's own thread is the one that draws most.
    drawer = statistics.mode((each["pid"], each["tid"]) for each in drawn)
    commits = sorted(each["ts"] for each in drawn if (each["pid"], each["tid"]) == drawer)
    tasks = [each for each in trace if each["name"] == "RunTask" and each["ph"] == "X"]
    own = sorted((each for each in tasks if (each["pid"], each["tid"]) == drawer), key=lambda each: float(each["ts"]))
    works: list[float] = []
    work = 0.0
    for each in own:
        work += each.get("tdur", each["dur"]) / 1000
        begin, end = each["ts"], each["ts"] + each["dur"]
        if bisect.bisect_left(commits, begin) < bisect.bisect_right(commits, end):
            works.append(work)
            work = 0.0
    # The first one began before the trace did.
    return works[1:]


def ranked(values: Sequence[float], share: float) -> float:
    """The value that a share of all do not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
