"""Compares a server's streams with the declared ones, applies them, or waits for them."""

from __future__ import annotations

import asyncio
import json as jsonlib

from ops.cli.interruptible import run_interruptibly
from ops.process.logs import configure_quiet
from ops.settings import Settings
from router import provisioning
from router.broker import SETTLE_SECONDS, Broker
from router.errors import Refused, Timeout, Unreachable
from router.provisioning import Difference
from router.reshard import Tell, drop_old

# Between two looks at a NATS that is not there yet, or not complete.
PAUSE = 0.5


def run_streams(settings: Settings, what: str, *, patience: float = 0.0, json: bool) -> int:
    """Prints the differences, mends them (`apply`), or waits for somebody else to (`wait`); raises BrokerError.

    Exit code 1 where something is left to be done; a stream that is missing and optional is told only.
    NATS itself, too, is waited for as long as `patience` lasts.
    """
    configure_quiet(settings.log)
    dropped: list[str] = []
    found = run_interruptibly(
        _wait(settings, patience) if what == "wait" else _compare(settings, what == "apply", patience, dropped.append)
    )
    if not json:
        for line in dropped:
            print(line)
    if json:
        print(
            jsonlib.dumps(
                [
                    {"stream": d.stream, "field": d.field, "want": d.want, "have": d.have, "optional": d.is_optional}
                    for d in found
                ],
                default=str,
            )
        )
    elif not found:
        print("all streams are there" if what == "wait" else "all streams are as they should be")
    else:
        for difference in found:
            print(_mended(difference) if what == "apply" else str(difference))
    return 0 if what == "apply" or all(difference.is_optional for difference in found) else 1


async def _compare(settings: Settings, apply: bool, patience: float, dropped: Tell) -> list[Difference]:
    deadline = asyncio.get_running_loop().time() + patience
    broker = await open_within(settings, deadline)
    try:
        if apply:
            # A server that has just started may still be electing.
            left = max(SETTLE_SECONDS, deadline - asyncio.get_running_loop().time())
            await broker.layouts.read_leader(left)
            changed = await provisioning.apply(broker.connection, settings.topology, broker.layout, left)
            await drop_old(broker, dropped)
            return changed
        return await provisioning.diff(broker.connection, settings.topology, broker.layout)
    finally:
        await broker.close()


async def _wait(settings: Settings, patience: float) -> list[Difference]:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    broker = await open_within(settings, deadline)
    try:
        while True:
            try:
                lacking = await provisioning.missing(broker.connection, settings.topology, broker.layout)
            except (Refused, Timeout):
                if loop.time() > deadline:
                    raise
                continue
            if not lacking or loop.time() > deadline:
                return [Difference(name, "*", None, None) for name in lacking]
            await asyncio.sleep(PAUSE)
    finally:
        await broker.close()


async def open_within(settings: Settings, deadline: float) -> Broker:
    """Connects, again until the deadline where no NATS answers. Raises Unreachable and Unsuitable."""
    loop = asyncio.get_running_loop()
    while True:
        broker = Broker(settings.broker, "streams", settings.topology)
        try:
            await broker.open(apply=False)
            return broker
        except Unreachable:
            if loop.time() > deadline:
                raise
            await asyncio.sleep(PAUSE)


def _mended(difference: Difference) -> str:
    if difference.field == "*":
        return f"{difference.stream}: made"
    return f"{difference.stream}.{difference.field}: {difference.have!r} became {difference.want!r}"
