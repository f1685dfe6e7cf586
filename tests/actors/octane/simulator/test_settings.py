"""Tests of actors/octane/simulator/settings.py: what cannot be simulated is refused before anything listens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from actors.octane.simulator.settings import MAX_PASSES, SimulatorSettings
from tests.actors.octane.simulation import QUICK


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 7},
        {"height": 5000},
        {"pitch": -1},
        {"max_samples": 0},
        {"images_per_second": 0.0},
        {"rest": -1.0},
        {"passes": 0},
        {"passes": 9},
        {"devices": -1},
        {"hdr": True, "half": True},
        {"chaos_every": 0.0},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(QUICK, **wrong)


def test_the_limits_themselves_are_taken() -> None:
    least = SimulatorSettings(width=8, height=8, pitch=0, rest=0.0, passes=1, devices=0)
    most = SimulatorSettings(width=4096, height=4096, pitch=8192, passes=MAX_PASSES, devices=16, hdr=True)

    assert (least.devices, most.passes) == (0, MAX_PASSES)
