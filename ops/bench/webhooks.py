"""Measures webhooks: signed posts per CPU-second of the edge, beside a bare aiohttp client loop.

The edge's CPU time holds all that a delivery takes: the fan-out, the job stored and taken, the signature, the post, its
settling, and its note in the attempt log. The loop beside it (`peers/aiohttp_loop.py`) posts the same body to the same
receiver as fast as it can, and does nothing else. Both are measured in turn; what the edge does as fast as it can, too, at
three fifths of that, and when all is published at once, where most jobs have to be parked.

Then a hundred receivers that are well get a steady stream, and in every second run one that is dead gets it, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.bench.report import ReportRow, middle, number
from ops.bench.stand import RUNS, BenchError, Partner, Plan, Stand, partner, process, stand
from router.topology import HOOKS

RECEIVERS = 16
# Of what the edge can do at most.
STEADY = 0.6
# As fast as they go: so many events are on their way to each receiver, fewer than would be parked.
AHEAD = 48
# Deliveries a second to a hundred receivers: about a third of what two cores can do with all that is on them.
BESIDE = 100
BESIDE_RATE = 8.0
# Many short ones, in turn: on a machine that does other things, too, one run says little about the slowest hundredth.
BESIDE_RUNS = 12
DEAD_TIMEOUT = 1.0
# The receivers are on this machine.
LOCAL = {"CALLBOARD_WEBHOOK_ALLOW_LOOPBACK": "true"}


@dataclass
class WebhookRun:
    """One run: posts a second, posts a CPU-second of the edge or of the loop, and who was how busy."""

    rate: float
    per_cpu: float
    busy: dict[str, float]
    body: str = ""


@dataclass
class WebhookCrowd:
    """Webhook sessions of one edge, and where their receivers are."""

    place: Stand
    receivers: Partner
    ports: dict[str, int]

    async def session(self, path: str, port: str, *subjects: str, **more: Any) -> None:
        body = {
            "subjects": subjects,
            "delivery_method": "webhook",
            "webhook_url": f"http://127.0.0.1:{self.ports[port]}/{path}",
            **more,
        }
        async with self.place.http.post("/callbacks/sessions", json=body) as answer:
            if answer.status != 201:
                raise BenchError(f"a webhook session was refused: {await answer.text()}")

    async def send(
        self, subject: str, events: int, sessions: int, rate: float | None, ahead: int = 0
    ) -> tuple[WebhookRun, dict[str, Any]]:
        """Publishes so many events, at a rate, or so many ahead of the receivers, or at once, until each session has them and

        no job is left.
        """
        place, posts = self.place, events * sessions
        await self.receivers.ask("begin", sessions=sessions)
        watch = place.watch()
        order: dict[str, Any] = {"do": "burst", "follow": False}
        if rate is not None:
            order = {"do": "pace", "rate": rate}
        elif ahead:
            order = {"do": "burst", "follow": True, "most": ahead}
        said, heard = await asyncio.gather(
            place.producer.ask(subject=subject, count=events, **order),
            self.receivers.ask("collect", posts=posts, seconds=120),
        )
        if rate is None:
            await self.settled()
        spent = watch.read()["edge"]
        return WebhookRun(posts / (heard["ended"] - said["began"]), posts / spent, watch.shares(), heard["body"]), heard

    async def settled(self) -> None:
        """Waits until the last jobs are acknowledged, which is part of what they cost."""
        while True:
            if not (await self.place.broker.stream(HOOKS).state())["messages"]:
                return
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def crowd() -> AsyncIterator[WebhookCrowd]:
    async with stand(variables=LOCAL) as place, partner("receivers", str(place.progress)) as receivers:
        yield WebhookCrowd(place, receivers, await receivers.ask("ports"))


async def run(plan: Plan) -> AsyncIterator[ReportRow]:
    """Measures what a webhook costs, then what a dead receiver costs the others."""
    async for row in _cost(plan):
        yield row
    async for row in _dead(plan):
        yield row


async def _cost(plan: Plan) -> AsyncIterator[ReportRow]:
    script = Path(__file__).parent / "peers" / "aiohttp_loop.py"
    async with crowd() as hooks, process(sys.executable, str(script), piped=True) as child:
        loop = Partner("loop", child)
        for index in range(RECEIVERS):
            await hooks.session(f"{index}", "well", "job.bench-hooks.said")
        burst, _ = await hooks.send("job.bench-hooks.said", 100, RECEIVERS, None)
        steady: list[WebhookRun] = []
        kept: list[WebhookRun] = []
        bursts: list[WebhookRun] = []
        bare: list[WebhookRun] = []
        for _ in range(RUNS):
            events = max(50, int(burst.rate * plan.seconds / RECEIVERS))
            burst, _ = await hooks.send("job.bench-hooks.said", events, RECEIVERS, None)
            bursts.append(burst)
            full, _ = await hooks.send("job.bench-hooks.said", events, RECEIVERS, None, AHEAD)
            kept.append(full)
            rate = burst.rate * STEADY / RECEIVERS
            calm, _ = await hooks.send("job.bench-hooks.said", events, RECEIVERS, rate)
            steady.append(calm)
            bare.append(await _bare(loop, hooks, events * RECEIVERS, burst.body))
    yield _row("webhooks, signed, at 60 % of what the edge can", steady)
    yield _row("webhooks, signed, as fast as they go", kept)
    yield _row("webhooks, signed, all published at once", bursts)
    yield _row("the bare aiohttp client loop", bare)
    for name, runs in (("at 60 %", steady), ("as fast as they go", kept), ("at once", bursts)):
        shares = [100 * ours.per_cpu / theirs.per_cpu for ours, theirs in zip(runs, bare, strict=True)]
        yield ReportRow("webhooks", f"of the bare loop, per CPU-second, {name}", "%", shares)


async def _bare(loop: Partner, hooks: WebhookCrowd, posts: int, body: str) -> WebhookRun:
    await hooks.receivers.ask("begin")
    url = f"http://127.0.0.1:{hooks.ports['well']}"
    # As many side by side as the edge may have under way to as many receivers.
    said = await loop.ask("post", url=url, count=posts, beside=8 * RECEIVERS, body=body)
    return WebhookRun(posts / said["seconds"], posts / said["cpu"], {"loop": said["cpu"] / said["seconds"]})


def _row(what: str, runs: Sequence[WebhookRun]) -> ReportRow:
    rates, per_cpu = [each.rate for each in runs], [each.per_cpu for each in runs]
    return ReportRow("webhooks", what, "posts/s", rates, per_cpu, middle(each.busy for each in runs))


async def _dead(plan: Plan) -> AsyncIterator[ReportRow]:
    alone: list[dict[str, Any]] = []
    beside: list[dict[str, Any]] = []
    busy: list[dict[str, float]] = []
    async with crowd() as hooks:
        for index in range(BESIDE):
            await hooks.session(f"{index}", "well", "job.bench-well.said", "job.bench-both.said")
        await hooks.session("dead", "dead", "job.bench-both.said", timeout=DEAD_TIMEOUT)
        events = max(16, int(BESIDE_RATE * 1.4 * plan.seconds))
        for turn in range(2 * BESIDE_RUNS + 2):
            with_dead = turn % 2 == 1
            subject = "job.bench-both.said" if with_dead else "job.bench-well.said"
            found, heard = await hooks.send(subject, events, BESIDE, BESIDE_RATE)
            if turn > 1:  # the first two warm up
                (beside if with_dead else alone).append(heard)
                busy.append(found.busy)
    for name in ("p50", "p99"):
        for what, runs in (("alone", alone), ("beside a dead one", beside)):
            yield ReportRow(
                "webhooks",
                f"publish to post, {BESIDE} receivers {what}, {name}",
                "ms",
                [each[name] for each in runs],
                busy=middle(busy),
                note=f"{number(BESIDE * BESIDE_RATE)} posts/s; worst {max(each['worst'] for each in runs):.0f} ms",
            )
    change = _slowest(beside) / _slowest(alone) - 1
    yield ReportRow("webhooks", "change of the p99 by a dead one, all runs together", "%", [100 * change])


def _slowest(runs: Sequence[dict[str, Any]]) -> float:
    """The age that one post in a hundred exceeds, of all runs: of one run that is a dozen posts, which says little."""
    ages = sorted(age for each in runs for age in each["ages"])
    return float(ages[int(len(ages) * 0.99)])
