"""One NATS container and two edges: each is paused, killed, cut off and restarted in the middle of deliveries."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from router.broker import Broker
from tests.containers.audience import audience
from tests.containers.engine import Edge, Product, Server, networks
from tests.waiting import eventually, unhurried

pytestmark = [pytest.mark.containers, pytest.mark.slow, pytest.mark.timeout(900)]


async def test_clients_lose_nothing_whatever_happens_to_nats_and_the_edges(callboard_image: str) -> None:
    faults = 0
    with contextlib.ExitStack() as stack:
        front, back = stack.enter_context(networks())
        # With its port on the network that stays: how this test itself looks at the stream.
        nats = stack.enter_context(Server([(front, []), (back, ["nats"])], "-js", "-sd", "/tmp/data"))
        url = "nats://nats:4222"
        one, other = (
            stack.enter_context(Edge(callboard_image, front, back, name, NATS_URL=url)) for name in ("edge-1", "edge-2")
        )
        agent = stack.enter_context(Product(callboard_image, [(back, ["agent"])], "actor", "agent", NATS_URL=url))
        await asyncio.gather(one.ready(), other.ready())
        async with audience([one, other]) as held:
            await held.goes_on()
            for hurt in (
                lambda: nats.pause(3),
                lambda: one.pause(3),
                lambda: nats.kill(0.5),
                lambda: one.kill(0.5),
                lambda: other.disconnect(3),
                lambda: nats.disconnect(3),
                lambda: other.restart(),
                lambda: nats.restart(),
            ):
                await hurt()
                faults += 1
                await held.goes_on()
            await eventually(lambda: agent.exec(["callboard", "health"]).exit_code == 0)
            async with Broker(unhurried(f"nats://{nats.address(4222)}"), "test") as broker:
                figures = await held.compare(broker)

    print(f"\ncontainers: {faults} faults, {figures}")
