"""Checks, after a reshard, that edges and actors read the streams that take the events now."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from actors.system.intake import consumer_name
from ops.cli.checks.findings import FAIL, WARN, CheckResult
from router.broker import Broker
from router.cluster.ownership import before_shards
from router.errors import BrokerError, Refused
from router.layout import Generation
from router.nats.bucket import Bucket
from router.nats.error_codes import ErrorCode
from router.nats.stream import Stream
from router.reshard import REFRESH_SECONDS
from router.topology import LEASES

# An actor that has just started, or has read the former streams to their ends, makes its consumers and pulls within this.
BEGIN_SECONDS = 4.0

Answers = Mapping[str, Sequence[Mapping[str, Any]]]


async def examine_reshard(broker: Broker, heard: Answers) -> list[CheckResult]:
    """Names edges and actors that get no new events; nothing where there was no reshard. `heard` is who answered `$SRV.PING`."""
    if not broker.layout.current.number:
        return []
    try:
        return [*await _edges(broker), *await _actors(broker, heard)]
    except BrokerError as fault:
        found = f"who reads the new streams is not known: {fault}"
        return [CheckResult("after reshard", WARN, found, "see what is found of NATS")]


async def _edges(broker: Broker) -> list[CheckResult]:
    former = await before_shards(Bucket(broker.connection, LEASES), REFRESH_SECONDS)
    if not former:
        return []
    found = f"of a version before shards, readers there get no new events: {', '.join(former)}"
    return [CheckResult("edges", FAIL, found, "update or stop them")]


async def _actors(broker: Broker, heard: Answers) -> list[CheckResult]:
    consumers = dict(_consumers(heard))
    for pause in (0.0, BEGIN_SECONDS):
        if consumers:
            await asyncio.sleep(pause)
        consumers = {shown: each for shown, each in consumers.items() if not await _reads(broker, each)}
    mend = "update it, or restart it: its events wait, and none is lost while they are kept"
    return [
        CheckResult(f"actor {shown}", WARN, "answers, and does not read the streams of the last reshard", mend)
        for shown in consumers
    ]


def _consumers(heard: Answers) -> Iterator[tuple[str, str]]:
    """The actors that receive events, and what the consumers of each are called."""
    for name, answers in heard.items():
        for answer in answers:
            about = answer.get("metadata") or {}
            if (instance := about.get("instance")) and about.get("subjects"):
                yield name if instance == "main" else f"{name} {instance}", consumer_name(name, instance)


async def _reads(broker: Broker, consumer: str) -> bool:
    """Whether an actor reads the current streams, or has events of former ones left that it reads before."""
    *former, current = broker.layout.generations
    if any(_is_used(info) for info in await _infos(broker, current, consumer)):
        return True
    for generation in former:
        infos = await _infos(broker, generation, consumer)
        if any(info is not None and (info["num_pending"] or info["num_ack_pending"]) for info in infos):
            return True
    return False


def _is_used(info: dict[str, Any] | None) -> bool:
    """Whether somebody pulls from a consumer, or has events of it in hand."""
    return info is not None and bool(info["num_waiting"] or info["num_ack_pending"])


async def _infos(broker: Broker, generation: Generation, consumer: str) -> list[dict[str, Any] | None]:
    return list(await asyncio.gather(*(_info(broker, shard.stream, consumer) for shard in generation.shards)))


async def _info(broker: Broker, stream: str, consumer: str) -> dict[str, Any] | None:
    try:
        return await Stream(broker.connection, stream).consumer_info(consumer)
    except Refused as refusal:
        if refusal.err_code in (ErrorCode.CONSUMER_NOT_FOUND, ErrorCode.STREAM_NOT_FOUND):
            return None
        raise
