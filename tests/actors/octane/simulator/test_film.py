"""The simulator's noise."""

from __future__ import annotations

import numpy as np
import pytest

from actors.octane.simulator.film import Exposure, Film
from actors.octane.simulator.scene import Viewpoint, trace


def test_noise_falls_as_one_over_the_root_of_the_samples():
    plate = trace(Viewpoint.around(0), 96, 54)
    film = Film(plate)
    film.expose(Exposure(1))

    noise = {}
    for samples in (16, 64, 256):
        film.expose(Exposure(samples))
        noise[samples] = float(np.std((film.light() - plate.light) / plate.noise))

    assert noise[16] / noise[64] == pytest.approx(2, rel=0.35)
    assert noise[64] / noise[256] == pytest.approx(2, rel=0.35)
    film.expose(Exposure(4))
    assert float(np.std((film.light() - plate.light) / plate.noise)) == pytest.approx(0.5, rel=0.35)


def test_a_region_has_less_noise_than_what_is_around_it_and_a_wipe_takes_that_away():
    plate = trace(Viewpoint.around(0), 96, 54)
    film = Film(plate)
    film.expose(Exposure(4))
    film.expose(Exposure(4, region=(0, 0, 48, 54), extra=252))

    noise = (film.light() - plate.light) / plate.noise

    assert float(np.std(noise[:, :48])) * 3 < float(np.std(noise[:, 48:]))
    film.expose(Exposure(4, wipes=1))
    noise = (film.light() - plate.light) / plate.noise
    assert float(np.std(noise[:, :48])) == pytest.approx(float(np.std(noise[:, 48:])), rel=0.35)
