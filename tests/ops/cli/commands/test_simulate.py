"""`callboard simulate`: its flags."""

from __future__ import annotations

import pytest

from ops.settings import Mistakes
from tests.ops.cli.commands.words import settings


def test_its_flags_are_the_simulators_settings() -> None:
    made = settings("simulate", "octane", "--port", "0", "--samples-per-second", "7.5", sections=("simulator",))

    simulator = made.section("simulator")
    assert (simulator.port, simulator.samples_per_second) == (0, 7.5)


def test_only_an_octane_can_be_simulated_and_only_on_a_wire_that_is_known() -> None:
    with pytest.raises(Mistakes, match="invalid choice: 'camera'"):
        settings("simulate", "camera")
    with pytest.raises(Mistakes, match=r"--generation=gamma .*beta-2, alpha-5"):
        settings("simulate", "octane", "--generation", "gamma", sections=("simulator",))
