"""Measures a camera: what eight viewers are shown, one of them slow and one stalled, and what the actor and the edge take for it.

The actor runs as people run it, on the simulated source at 1280 x 1024 and 30 pictures a second. The bare loop (`camera_bare`) captures
and encodes with the same source and the same encoder, and sends nothing to anybody; both are measured in turn, in one run. Ages are
from the capture, as a picture's header says, until a client has all of it. CPU is the processes' own time.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from actors.camera.sources.simulated import SimulatedSource
from ops.bench.camera_viewers import REST
from ops.bench.report import ReportRow, middle
from ops.bench.stand import RUNS, BenchError, CpuWatch, Partner, Plan, Stand, partner, process, stand
from ops.launch import own_argv

SIZE = (1280, 1024)
PASSED = (1920, 1080)
RATE = 30.0
# Eight viewers: six that keep up, one that is slow and one that reads nothing.
CROWD = (*["quick"] * 6, "slow", "stalled")
H264_CROWD = (*["h264"] * 6,)


async def run(plan: Plan) -> AsyncIterator[ReportRow]:
    """The crowd, then the costs."""
    async with stand() as place:
        async for row in measure(place, max(4.0, plan.seconds * 2), SIZE):
            yield row


async def measure(place: Stand, seconds: float, size: tuple[int, int]) -> AsyncIterator[ReportRow]:
    """All rows, of runs that take that long."""
    what = f"{size[0]} x {size[1]} at {RATE:g}"
    async for row in _crowd(place, seconds, size, what):
        yield row
    async for row in _h264(place, seconds, size, what):
        yield row
    yield await _late(place, seconds, size, what)
    yield await _passed_on(place, seconds)
    async for row in _static(place, seconds, size):
        yield row


@contextlib.asynccontextmanager
async def camera(place: Stand, source: str, size: tuple[int, int], **settings: str) -> AsyncIterator[int]:
    """A camera actor; the id of its process."""
    variables = {
        "CALLBOARD_NATS_URL": place.nats_url,
        "CALLBOARD_DATA_DIR": str(place.progress.parent),
        "CALLBOARD_LOG_LEVEL": "error",
        "CALLBOARD_CAMERA_SOURCE": source,
        "CALLBOARD_CAMERA_WIDTH": str(size[0]),
        "CALLBOARD_CAMERA_HEIGHT": str(size[1]),
        "CALLBOARD_CAMERA_FPS": str(RATE),
        "CALLBOARD_CAMERA_LINGER": "0",
        **settings,
    }
    async with process(*own_argv("actor", "camera"), variables=variables) as actor:
        await place.known("/cameras", "main")
        yield actor.pid


class _Watched:
    """What the viewers of several runs were shown, and who took how much CPU for it."""

    def __init__(self) -> None:
        self.viewers: list[list[dict[str, Any]]] = []
        self.cpu: list[dict[str, float]] = []
        self.busy: list[dict[str, float]] = []
        self.sent: list[float] = []
        self.seconds: list[float] = []
        # CPU of the edge in a second in which nobody watches.
        self.idle: list[float] = []

    async def rest(self, place: Stand, seconds: float) -> None:
        """Measures what the edge takes while nobody watches: its leases, probes and counts, whatever it delivers."""
        watch = CpuWatch(edge=place.edge_pid)
        began = time.monotonic()
        await asyncio.sleep(seconds)
        self.idle.append(watch.read()["edge"] / (time.monotonic() - began))

    async def watch(self, place: Stand, actor: int, crowd: tuple[str, ...], seconds: float) -> None:
        """One run."""
        async with partner("camera_viewers") as viewers:
            sent = await place.counter("edge_frames_total")
            watch, began = CpuWatch(actor=actor, edge=place.edge_pid, nats=place.nats_pid), time.monotonic()
            found = (await viewers.ask("watch", port=place.port, viewers=list(crowd), seconds=seconds))["viewers"]
            self.busy.append(watch.shares())
            self.seconds.append(time.monotonic() - began)
            self.cpu.append(watch.read())
            self.sent.append(await place.counter("edge_frames_total") - sent)
        if any(each["format"] not in ("", "jpeg" if each["kind"] != "h264" else "h264") for each in found):
            raise BenchError("a viewer was shown another format than it asked for")
        self.viewers.append(found)

    def of(self, kind: str, figure: str) -> list[float]:
        """The worst figure of the viewers of one kind, of each run. Raises BenchError."""
        worst = min if figure == "fps" else max
        runs = [[each[figure] for each in run if each["kind"] == kind] for run in self.viewers]
        if any(value is None for run in runs for value in run):
            raise BenchError(f"a viewer ({kind}) was shown no picture")
        return [worst(run) for run in runs]

    def edge_each(self) -> list[float]:
        """CPU of the edge for each picture that it sent, in ms, beyond what it takes while nobody watches."""
        runs = zip(self.cpu, self.sent, self.seconds, self.idle, strict=True)
        return [1000 * (cpu["edge"] - idle * seconds) / max(1.0, sent) for cpu, sent, seconds, idle in runs]


async def _crowd(place: Stand, seconds: float, size: tuple[int, int], what: str) -> AsyncIterator[ReportRow]:
    seen, actor, bare = _Watched(), list[float](), list[float]()
    async with camera(place, "simulated", size) as pid, partner("camera_bare") as loop:
        for _ in range(RUNS):
            await seen.rest(place, min(10.0, seconds))
            await seen.watch(place, pid, CROWD, seconds)
            actor.append(await _actor_each(place, pid, "quick", seconds))
            bare.append(await _bare_each(loop, "jpeg", size, seconds))
    crowd = f"{what}, eight viewers, one slow, one stalled"
    yield ReportRow("camera", f"{crowd}: lowest rate", "fps", seen.of("quick", "fps"), busy=middle(seen.busy))
    yield ReportRow("camera", f"{crowd}: p50 of age", "ms", seen.of("quick", "p50"))
    yield ReportRow("camera", f"{crowd}: p99 of age", "ms", seen.of("quick", "p99"))
    yield ReportRow("camera", f"{crowd}: not newer than before", "pictures", seen.of("quick", "stale"))
    yield ReportRow("camera", "the slow one, 200 ms a picture: p99 of age", "ms", seen.of("slow", "p99"))
    yield ReportRow("camera", "edge, CPU a second while nobody watches", "ms", [1000 * idle for idle in seen.idle])
    yield ReportRow("camera", "edge, CPU per delivered picture, beyond that", "ms", seen.edge_each())
    yield ReportRow("camera", f"{what}, JPEG, one viewer: CPU per picture, actor", "ms", actor)
    yield ReportRow("camera", f"{what}, JPEG: CPU per picture, bare capture and encode", "ms", bare)
    yield _ratio("JPEG", actor, bare)


async def _h264(place: Stand, seconds: float, size: tuple[int, int], what: str) -> AsyncIterator[ReportRow]:
    seen, actor, bare = _Watched(), list[float](), list[float]()
    async with camera(place, "simulated", size) as pid, partner("camera_bare") as loop:
        for _ in range(RUNS):
            await seen.watch(place, pid, H264_CROWD, seconds)
            actor.append(await _actor_each(place, pid, "h264", seconds))
            bare.append(await _bare_each(loop, "h264", size, seconds))
    crowd = f"{what}, H.264, six viewers"
    yield ReportRow("camera", f"{crowd}: lowest rate", "fps", seen.of("h264", "fps"), busy=middle(seen.busy))
    yield ReportRow("camera", f"{crowd}: p99 of age", "ms", seen.of("h264", "p99"))
    yield ReportRow("camera", f"{what}, H.264, one viewer: CPU per picture, actor", "ms", actor)
    yield ReportRow("camera", f"{what}, H.264: CPU per picture, bare capture and encode", "ms", bare)
    yield _ratio("H.264", actor, bare)


async def _late(place: Stand, seconds: float, size: tuple[int, int], what: str) -> ReportRow:
    seen = _Watched()
    async with camera(place, "simulated", size) as pid:
        for _ in range(RUNS):
            await seen.watch(place, pid, ("quick", "mjpeg-slow"), max(8.0, seconds))
    return ReportRow("camera", f"{what}, MJPEG, 200 ms a picture: p99 of age", "ms", seen.of("mjpeg-slow", "p99"))


async def _passed_on(place: Stand, seconds: float) -> ReportRow:
    """A source that gives JPEGs, which nobody decodes or encodes."""
    path = place.progress.parent / "motion.avi"
    make_film(path, PASSED, "mjpeg")
    async with camera(place, str(path), PASSED) as pid:
        each = [await _actor_each(place, pid, "quick", seconds) for _ in range(RUNS)]
    return ReportRow("camera", f"{PASSED[0]} x {PASSED[1]}, JPEG passed on: CPU per picture, actor", "ms", each)


async def _static(place: Stand, seconds: float, size: tuple[int, int]) -> AsyncIterator[ReportRow]:
    """A film whose picture stays the same for as long as it is watched, beside one that moves."""
    shares: dict[str, list[float]] = {"moving": [], "static": []}
    for kind, found in shares.items():
        path = place.progress.parent / f"{kind}.mkv"
        make_film(path, size, "ffv1", still=kind == "static")
        async with camera(place, str(path), size) as pid:
            for _ in range(RUNS):
                found.append(await _share(place, pid, seconds))
    ratios = [static / statistics.median(shares["moving"]) for static in shares["static"]]
    yield ReportRow("camera", "a film that moves, JPEG, one viewer: actor", "% of core", shares["moving"])
    yield ReportRow("camera", "a film that stands still: actor", "% of core", shares["static"])
    yield ReportRow("camera", "static over moving", "times", ratios)


def make_film(path: Path, size: tuple[int, int], codec: str, still: bool = False) -> None:
    """Films the test card: a second of it, or one picture that stands for ten."""
    source = SimulatedSource(*size)
    source.open()
    rate = Fraction(1, 10) if still else Fraction(int(RATE))
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        # As a camera compresses; FFmpeg's usual quality is much lower.
        stream.codec_context.options = {"qscale": "3"} if codec == "mjpeg" else {}
        for number in range(2 if still else int(RATE)):
            shown = 0 if still else number
            container.mux(stream.encode(av.VideoFrame.from_ndarray(source.grab(shown).pixels, format="rgb24")))
        container.mux(stream.encode(None))


async def _share(place: Stand, pid: int, seconds: float) -> float:
    """How busy the actor is while one viewer watches, in percent of a core."""
    async with partner("camera_viewers") as viewers:
        asked = asyncio.create_task(
            viewers.ask("watch", port=place.port, viewers=["quick"], seconds=seconds + REST), name="viewer"
        )
        await asyncio.sleep(2 * REST)
        watch = CpuWatch(actor=pid)
        await asyncio.sleep(seconds)
        busy = 100 * watch.shares()["actor"]
        await asked
    return busy


def _ratio(codec: str, actor: list[float], bare: list[float]) -> ReportRow:
    middle_of = statistics.median(bare)
    return ReportRow("camera", f"{codec}, actor over bare", "times", [each / middle_of for each in actor])


async def _actor_each(place: Stand, pid: int, kind: str, seconds: float) -> float:
    """CPU of the actor for each picture that one viewer is shown, in ms."""
    async with partner("camera_viewers") as viewers:
        # The first picture and the pause after it are over when the viewer has been asked twice.
        await viewers.ask("watch", port=place.port, viewers=[kind], seconds=0.5)
        watch = CpuWatch(actor=pid)
        first = await _frames(place)
        await viewers.ask("watch", port=place.port, viewers=[kind], seconds=seconds)
        return 1000 * watch.read()["actor"] / max(1, await _frames(place) - first)


async def _frames(place: Stand) -> int:
    """How many pictures the actor has captured."""
    async with place.http.post("/commands/camera/main/describe", json={}) as answer:
        return int((await answer.json())["statistics"]["frames"])


async def _bare_each(loop: Partner, codec: str, size: tuple[int, int], seconds: float) -> float:
    watch = CpuWatch(bare=loop.pid)
    asked = {"codec": codec, "width": size[0], "height": size[1], "rate": RATE, "seconds": seconds}
    pictures = int((await loop.ask("capture", **asked))["pictures"])
    return 1000 * watch.read()["bare"] / max(1, pictures)
