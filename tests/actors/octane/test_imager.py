"""Tone mapping and film region by pins of nodes, on both generations, against the simulator over real gRPC."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actors.octane.simulator.refusing import invalid
from actors.octane.simulator.settings import OctaneGeneration
from actors.system.actor import Reject
from tests.actors.octane.commanding import STEADY, commanded
from tests.actors.octane.watching import said
from tests.waiting import eventually

both = pytest.mark.parametrize("generation", [OctaneGeneration.BETA_2, OctaneGeneration.ALPHA_5])


def _refuse(*_: object) -> None:
    raise invalid("the node has no such pin")


@both
async def test_exposure_gamma_and_white_balance_reach_the_imager(generation):
    async with commanded(replace(STEADY, generation=generation)) as (octane, probe):
        own = {"exposure": 1.0, "gamma": 1.0, "white_balance": [1.0, 1.0, 1.0]}
        await eventually(lambda: said(probe, "controls")[-1]["tonemap"] == own)
        answer = await probe.ask("set_tonemap", exposure=2.5, white_balance=[1, 0.75, 0.5])
        assert answer["tonemap"] == {"exposure": 2.5, "gamma": 1.0, "white_balance": [1.0, 0.75, 0.5]}
        assert (await probe.ask("set_tonemap", gamma=2.2))["tonemap"]["gamma"] == pytest.approx(2.2)

        assert octane.pins.gains == pytest.approx((2.5, 2.5 / 0.75, 5.0)) and octane.pins.gamma == pytest.approx(2.2)
        assert said(probe, "controls")[-1]["tonemap"]["exposure"] == 2.5


@both
async def test_a_film_region_is_set_bounded_by_the_film_and_cleared(generation):
    async with commanded(replace(STEADY, generation=generation)) as (_, probe):
        answer = await probe.ask("set_film_region", left=4, top=2, right=40, bottom=20)
        assert answer["film_region"] == {"left": 4, "top": 2, "right": 40, "bottom": 20}
        with pytest.raises(Reject, match=r"^right must be at most 48"):
            await probe.ask("set_film_region", left=4, top=2, right=49, bottom=20)
        assert (await probe.ask("clear_film_region"))["film_region"] is None


async def test_an_octane_without_the_node_service_says_that_it_is_not_available_and_shows_no_tonemap():
    async with commanded() as (octane, probe):
        octane.settings = replace(octane.settings, generation=OctaneGeneration.ALPHA_3)
        octane.pins.get = octane.pins.set = _refuse  # type: ignore[method-assign]

        with pytest.raises(Reject, match=r"not available on this Octane|octane refused"):
            await probe.ask("set_tonemap", exposure=2)
    assert probe.crashes == []
