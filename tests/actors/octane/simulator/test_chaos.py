"""Tests of actors/octane/simulator/chaos.py: faults that come by themselves."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from actors.octane.simulator.chaos import OctaneChaos
from actors.octane.simulator.faults import OctaneFault
from ops.cli.commands.simulate import FAULTS
from tests.actors.octane.simulation import QUICK, simulated
from tests.waiting import PATIENCE, eventually

SETTINGS = replace(QUICK, chaos=(OctaneFault.SLOT, OctaneFault.HANG, OctaneFault.SHORT), chaos_every=0.01)


async def struck(count: int, seed: int) -> tuple[list[tuple[OctaneFault, float]], list[str]]:
    faults: list[tuple[OctaneFault, float]] = []
    said: list[str] = []
    chaos = OctaneChaos(replace(SETTINGS, chaos_seed=seed), lambda *each: faults.append(each), said.append)
    task = asyncio.create_task(chaos.run())
    await eventually(lambda: len(faults) >= count)
    task.cancel()
    return faults[:count], said[:count]


async def test_a_seed_decides_the_order_and_each_fault_is_said() -> None:
    (first, said), (again, _), (other, _) = await struck(12, 1), await struck(12, 1), await struck(12, 2)

    assert first == again != other
    assert {fault for fault, _ in first} == set(SETTINGS.chaos)
    assert all(seconds == (SETTINGS.chaos_lasts if fault.lasts else 0.0) for fault, seconds in first)
    assert said == [f"{fault.value} for 8 s" if fault.lasts else fault.value for fault, _ in first]


async def test_without_faults_it_has_nothing_to_do() -> None:
    async with asyncio.timeout(PATIENCE):
        await OctaneChaos(QUICK, lambda *each: None, print).run()


async def test_a_simulator_is_struck_by_its_own_chaos() -> None:
    async with simulated(replace(QUICK, chaos=(OctaneFault.RESTART,), chaos_every=0.2)) as octane:
        await eventually(lambda: octane.restarts >= 2)


def test_the_command_line_names_every_fault() -> None:
    assert FAULTS.split(", ") == [fault.value for fault in OctaneFault]
    assert all(fault.value == fault.name.lower().replace("_", "-") for fault in OctaneFault)
