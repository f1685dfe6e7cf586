"""Tests of actors/octane/simulator/pins.py: pins keep their type, and those of the imager decide what is seen."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from actors.octane.simulator.pins import CAMERA, FILM, IMAGER, PinValues
from actors.octane.simulator.refusing import CallRefused
from protos import octane_node_pb2 as node


@pytest.fixture
def pins() -> PinValues:
    return PinValues(48, 27)


def test_the_film_begins_with_the_whole_picture_and_a_value_that_is_set_is_kept(pins: PinValues) -> None:
    assert pins.get(FILM, node.P_RESOLUTION) == pins.get(FILM, node.P_REGION_SIZE) == (48, 27)

    pins.set(FILM, node.P_REGION_SIZE, (20, 10))

    assert pins.get(FILM, node.P_REGION_SIZE) == (20, 10) and pins.get(FILM, node.P_RESOLUTION) == (48, 27)


@pytest.mark.parametrize(
    ("handle", "pin", "wrong"),
    [
        (IMAGER, node.P_EXPOSURE, True),
        (IMAGER, node.P_EXPOSURE, (1.0, 1.0, 1.0)),
        (IMAGER, node.P_WHITE_BALANCE, (1, 1)),
        (FILM, node.P_REGION_OFFSET, (1.0, 1.0, 1.0)),
        (CAMERA, node.P_AUTOFOCUS, 1.0),
    ],
)
def test_a_value_of_another_type_is_refused_and_changes_nothing(
    pins: PinValues, handle: int, pin: int, wrong: Any
) -> None:
    before = pins.get(handle, pin)

    with pytest.raises(CallRefused, match="another type") as refused:
        pins.set(handle, pin, wrong)

    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT and pins.get(handle, pin) == before


def test_a_pin_of_another_node_is_refused(pins: PinValues) -> None:
    with pytest.raises(CallRefused, match="no such pin"):
        pins.get(CAMERA, node.P_EXPOSURE)
    with pytest.raises(CallRefused, match="no such pin"):
        pins.set(CAMERA, node.P_EXPOSURE, 2.0)


def test_exposure_brightens_and_the_white_point_becomes_white(pins: PinValues) -> None:
    pins.set(IMAGER, node.P_EXPOSURE, 2.0)
    pins.set(IMAGER, node.P_WHITE_BALANCE, (1.0, 0.5, 0.0))
    pins.set(IMAGER, node.P_GAMMA, 2.2)

    # A white point without blue does not divide by nothing.
    assert pins.gains == pytest.approx((2.0, 4.0, 2000.0)) and pins.gamma == pytest.approx(2.2)
