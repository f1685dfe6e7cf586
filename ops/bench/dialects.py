"""Measures what a delivery costs in each dialect: 1,000 readers of 100 runs, as CPU time of the edge per delivered event.

Ten clients read each run: by server-sent events, and where a dialect has only a WebSocket by that. In each tick every run says
one event, and the next tick is said when all clients have had the one before, so nothing is conflated and nobody lags. The
clients live in another process and only count bytes. The readers of the callback dialect stay open, and each other dialect is
measured beside them, in turns whose order alternates; each has runs of its own. A ratio is the median of the ratios of
neighbours, which a machine that is busy otherwise does not move much. What is counted is all that the edge does for an
event: receiving, decoding, matching, folding, encoding and writing, with the kernel's share of it.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from ops.bench.fanout import CountingProcess, counting_readers
from ops.bench.report import ReportRow
from ops.bench.stand import BenchError, Plan, Stand, cpu_seconds, stand
from router.event import Event

RUNS = 100
READERS = 10
# 15,000 deliveries a turn: some tenth of a second.
TICKS = 15
TURNS = 5
TEXT = "x" * 100


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """A dialect and how it is asked for: the subject of a run, what begins it and what it says, and its address."""

    dialect: str
    subject: str = "thread.{run}"
    start: Mapping[str, Any] | None = None
    says: str = "token"
    data: Mapping[str, Any]
    # None for a session in this dialect.
    path: str | None = None
    folded: bool = True
    transport: str = "sse"

    def run(self, number: int) -> str:
        """The name of one of its runs."""
        return f"bench-{self.dialect}-{number}"

    def event(self, kind: str, number: int, data: Mapping[str, Any]) -> Event:
        """An event of one of its runs."""
        return Event.new(f"{self.subject.format(run=self.run(number))}.{kind}", dict(data), source="bench")

    async def addresses(self, place: Stand, runs: int) -> list[str]:
        """Begins its runs, and returns where each is read."""
        if self.start is not None:
            for number in range(runs):
                await place.broker.publish(self.event("workflow_start", number, self.start))
        if self.path is not None:
            return [self.path.format(run=self.run(number)) for number in range(runs)]
        patterns = [f"{self.subject.format(run=self.run(number))}.>" for number in range(runs)]
        return [f"{await place.session(pattern, self.dialect)}/sse" for pattern in patterns]


_TURN: Mapping[str, Any] = {"name": "Bench", "incarnation": "one"}
_TOKEN: Mapping[str, Any] = {"content": TEXT}
_RENDER = {"status": "processing", "currentFrame": 5, "totalFrames": 10, "progress": 0.5, "stage": TEXT[:40]}
_METRICS = {"campaignId": "c", "metrics": {"impressions": 10_000, "clicks": 123, "ctr": 0.0123, "spend": 45.67}}

CALLBACK = Conversation(dialect="callback", data=_TOKEN, folded=False)
CONVERSATIONS = (
    CALLBACK,
    Conversation(dialect="cloudevents", data=_TOKEN, folded=False),
    Conversation(
        dialect="geminivideo-entity", subject="metric.{run}", says="campaign_metrics", data=_METRICS,
        path="/api/stream/campaign-metrics/{run}", folded=False,
    ),
    # Shared but for the end of a run.
    Conversation(
        dialect="durable-streams", start=_TURN, data=_TOKEN, path="/streams/runs/{run}?offset=-1&live=sse", folded=False,
    ),
    Conversation(
        dialect="geminivideo-render", subject="job.{run}", start=_TURN, says="video_render_progress", data=_RENDER,
        path="/api/stream/render-progress/{run}",
    ),
    Conversation(
        dialect="geminivideo-channels", subject="job.{run}", start=_TURN, says="video_render_progress", data=_RENDER,
        path="/ws?jobId={run}", transport="websocket",
    ),
    Conversation(dialect="agent-run", start=_TURN, data=_TOKEN, path="/agent-run/{run}/stream"),
    Conversation(dialect="ai-sdk", start=_TURN, data=_TOKEN, path="/api/chat/{run}/stream"),
    Conversation(dialect="ag-ui", start=_TURN, data=_TOKEN, path="/ag-ui/threads/{run}"),
    Conversation(dialect="tanstack", start=_TURN, data=_TOKEN, path="/tanstack/assistant?threadId={run}&runId=one"),
    Conversation(dialect="langgraph", start=_TURN, data=_TOKEN, path="/threads/{run}/runs/one/stream"),
)  # fmt: skip


class Contest:
    """An edge, and the readers of some dialects."""

    def __init__(self, place: Stand, readers: CountingProcess) -> None:
        self._place = place
        self._readers = readers
        # Bytes that one tick is to all readers of a dialect.
        self._size: dict[str, float] = {}

    async def open(self, spoken: Conversation) -> None:
        """Connects the readers of a dialect, and learns how many bytes a tick is to all of them."""
        paths = ",".join(await spoken.addresses(self._place, RUNS))
        where = f"127.0.0.1 {self._place.port} {paths} {spoken.transport} {READERS}"
        await self._readers.ask(f"open {spoken.dialect} {where}")
        # The first may begin a message.
        await self._say(spoken)
        (before,) = await self._readers.ask(f"count {spoken.dialect}")
        await self._say(spoken)
        (after,) = await self._readers.ask(f"count {spoken.dialect}")
        size = self._size[spoken.dialect] = after - before
        if size < RUNS * READERS * 100:
            raise BenchError(f"{RUNS * READERS} readers of {spoken.dialect} got {size:.0f} bytes of a tick")

    async def close(self, spoken: Conversation) -> None:
        """Lets them go."""
        await self._readers.ask(f"close {spoken.dialect}")

    async def measure(self, spoken: Conversation) -> float:
        """CPU time of the edge for one delivery, in microseconds."""
        (count,) = await self._readers.ask(f"wait {spoken.dialect} 0 0")
        began = cpu_seconds(self._place.edge_pid)
        for _ in range(TICKS):
            await self._say(spoken)
            wanted = count + self._size[spoken.dialect]
            (count,) = await self._readers.ask(f"wait {spoken.dialect} {int(0.999 * wanted)} 10")
            if count < 0.999 * wanted:
                raise BenchError(f"{wanted - count:.0f} bytes of {spoken.dialect} never arrived")
        return (cpu_seconds(self._place.edge_pid) - began) / (TICKS * RUNS * READERS) * 1e6

    async def _say(self, spoken: Conversation) -> None:
        events = [spoken.event(spoken.says, number, spoken.data) for number in range(RUNS)]
        await asyncio.gather(*map(self._place.broker.publish, events))


async def run(plan: Plan) -> AsyncIterator[ReportRow]:
    """Measures each dialect beside the callback dialect."""
    async with stand() as place, counting_readers() as readers:
        contest = Contest(place, readers)
        await contest.open(CALLBACK)
        for spoken in CONVERSATIONS:
            if spoken is CALLBACK:
                continue
            await contest.open(spoken)
            pairs = [await _pair(contest, spoken, reverse=bool(turn % 2)) for turn in range(TURNS)]
            await contest.close(spoken)
            yield _row(spoken, pairs)


async def _pair(contest: Contest, spoken: Conversation, reverse: bool) -> tuple[float, float]:
    """What a delivery costs in this dialect, and in the callback dialect."""
    if reverse:
        callback = await contest.measure(CALLBACK)
        return await contest.measure(spoken), callback
    return await contest.measure(spoken), await contest.measure(CALLBACK)


def _row(spoken: Conversation, pairs: list[tuple[float, float]]) -> ReportRow:
    ratio = statistics.median(mine / callback for mine, callback in pairs)
    beside = statistics.median(callback for _, callback in pairs)
    kind = "folded" if spoken.folded else "shared"
    title = f"a delivery to {RUNS * READERS:,} readers of {RUNS} runs: {spoken.dialect} ({kind})"
    return ReportRow(
        "dialects", title, "µs CPU", [mine for mine, _ in pairs], note=f"{ratio:.2f}x callback ({beside:.1f} µs)"
    )
