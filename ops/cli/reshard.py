"""Puts the events of an installation into another number of streams, while everything runs."""

from __future__ import annotations

import asyncio
import json as jsonlib

from ops.cli.interruptible import run_interruptibly
from ops.cli.streams import PAUSE, open_within
from ops.process.logs import configure_quiet
from ops.settings import Settings
from router.broker import SETTLE_SECONDS, Broker
from router.layout import generation
from router.nats.stream import Stream
from router.reshard import Reshard, Tell, UnfinishedReshard, names, plan
from router.topology import event_stream


def run_reshard(settings: Settings, shards: int, *, patience: float, dry_run: bool, json: bool) -> int:
    """Puts the events into so many streams, or says what that would do; prints each step.

    NATS is waited for, and what it interrupts is tried again, as long as `patience` lasts. Raises BadReshard and BrokerError.
    Run again it finishes what was interrupted.
    """
    configure_quiet(settings.log)
    steps: list[str] = []

    def tell(line: str) -> None:
        steps.append(line)
        if not json:
            print(line, flush=True)

    changed = run_interruptibly(_reshard(settings, shards, patience, dry_run, tell))
    if json:
        print(jsonlib.dumps({"shards": shards, "changed": changed, "dry_run": dry_run, "steps": steps}))
    return 0


async def _reshard(settings: Settings, shards: int, patience: float, dry_run: bool, tell: Tell) -> bool:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    broker = await open_within(settings, deadline)
    try:
        if dry_run:
            await _describe(broker, shards, tell)
            return False
        while True:
            try:
                return await Reshard(broker, shards, tell).run()
            except UnfinishedReshard as fault:
                if not fault.is_passing or loop.time() > deadline:
                    raise
                tell(f"{fault}; trying again")
            await asyncio.sleep(PAUSE)
    finally:
        await broker.close()


async def _describe(broker: Broker, shards: int, tell: Tell) -> None:
    """Says what a reshard would do. Raises BadReshard and BrokerError."""
    entry = await broker.layouts.read_leader(SETTLE_SECONDS)
    wanted = plan(entry, shards, broker.topology.dedup_window)
    current = entry.layout.current
    if wanted is None or wanted.next is None:
        tell(f"nothing to do: the events are in {names(current)}")
        return
    following = generation(wanted.next.number, wanted.next.shards)
    limit = event_stream(following.shards[0], broker.topology).config["max_bytes"]
    room = "without a limit of bytes" if limit < 0 else f"of at most {limit / (1 << 20):,.1f} MiB each"
    states = [await Stream(broker.connection, shard.stream).state() for shard in current.shards]
    messages, size = (sum(state[what] for state in states) for what in ("messages", "bytes"))
    begun = "; it was begun, and would be finished" if entry.next is not None else ""
    tell(f"would make {names(following)}, {room}{begun}")
    tell(
        f"would seal {names(current)}, with {messages:,} events in {size / (1 << 20):,.1f} MiB: publishers wait for a moment"
    )
    tell(f"new events would go to {names(following)}; {names(current)} would be kept until its events are too old")
    tell("nothing was changed")
