from __future__ import annotations

import signal

from tests.ops.command import running


async def test_the_second_actor_of_a_kind_waits_and_follows_the_first_when_it_dies(
    nats_server: str, entity: str
) -> None:
    command = ("actor", "camera", "--instance", entity)
    async with running(*command, NATS_URL=nats_server) as first:
        await first.says("elected leader")
        async with running(*command, NATS_URL=nats_server) as second:
            await second.says("another process is leader; waiting")
            assert "elected leader" not in second.err

            first.signal(signal.SIGKILL)
            await second.says("elected leader")

            second.signal(signal.SIGTERM)
            assert await second.ends() == 0


async def test_an_actor_that_waits_for_its_turn_ends_when_it_is_told(nats_server: str, entity: str) -> None:
    command = ("actor", "alerts", "--instance", entity)
    async with running(*command, NATS_URL=nats_server) as first:
        await first.says("elected leader")
        async with running(*command, NATS_URL=nats_server) as second:
            await second.says("another process is leader; waiting")

            second.signal(signal.SIGTERM)

            assert await second.ends() == 0
