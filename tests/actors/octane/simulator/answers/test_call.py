"""Tests of actors/octane/simulator/answers/call.py: what a call's answer knows, as it arrives on the wire."""

from __future__ import annotations

from actors.octane.simulator.simulator import SimulatedKind
from tests.actors.octane.simulation import LONG, simulated
from tests.actors.octane.simulator.asking import ask, channel_to, register


async def test_a_call_knows_its_octane_and_the_result_of_its_answer_arrives() -> None:
    async with simulated(LONG) as octane, channel_to(octane.address) as channel:
        octane.name = "Another Octane"

        assert (await ask(channel, "octaneName")).result == "Another Octane"


async def test_calls_of_two_connections_are_of_different_peers() -> None:
    async with simulated(LONG) as octane, channel_to(octane.address) as one, channel_to(octane.address) as other:
        peers = []
        for channel in (one, other, one):
            await register(channel)
            peers.append(octane.slot.registrations[SimulatedKind.NEW_IMAGE].peer)

    assert peers[0] == peers[2] != peers[1] and "" not in peers
