"""This file is where a server's streams are compared with what they should be, and made so."""

from __future__ import annotations

import asyncio
import json as jsonlib

from ops.logs import quietly
from ops.settings import Settings
from router import topology
from router.broker import Broker
from router.topology import Difference


def run_streams(settings: Settings, *, apply: bool, json: bool) -> int:
    """Prints the differences; with `apply` they are mended, without it they are exit code 1. Raises BrokerError."""
    quietly(settings.log)
    found = asyncio.run(_compare(settings, apply))
    if json:
        print(
            jsonlib.dumps(
                [{"stream": d.stream, "field": d.field, "want": d.want, "have": d.have} for d in found], default=str
            )
        )
    elif not found:
        print("all streams are as they should be")
    else:
        for difference in found:
            print(_mended(difference) if apply else str(difference))
    return 0 if apply or not found else 1


async def _compare(settings: Settings, apply: bool) -> list[Difference]:
    broker = Broker(settings.broker, "streams", settings.topology)
    await broker.open(apply=False)
    try:
        return await (topology.apply if apply else topology.diff)(broker.connection, settings.topology)
    finally:
        await broker.close()


def _mended(difference: Difference) -> str:
    if difference.field == "*":
        return f"{difference.stream}: made"
    return f"{difference.stream}.{difference.field}: {difference.have!r} became {difference.want!r}"
