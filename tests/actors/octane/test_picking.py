"""Picks, on both generations, against the simulator over real gRPC."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from actors.octane.simulator.refusing import invalid
from actors.octane.simulator.settings import OctaneGeneration
from actors.system.actor import Reject
from protos import octane_node_pb2 as node
from tests.actors.octane.commanding import STEADY, commanded

both = pytest.mark.parametrize("generation", [OctaneGeneration.BETA_2, OctaneGeneration.ALPHA_5])


def _refuse(*_: object) -> None:
    raise invalid("the node has no such pin")


@both
async def test_a_pick_tells_what_is_there_and_focus_is_applied(generation):
    async with commanded(replace(STEADY, generation=generation)) as (octane, probe):
        for what in ("object", "material"):
            result = (await probe.ask("pick", x=24, y=20, what=what))["result"]
            assert result["found"] and result["node"]["handle"] and result["what"] == what
            assert math.hypot(*result["normal"]) == pytest.approx(1, abs=1e-3)
            assert result["distance"] == pytest.approx(math.dist(octane.view.position, result["position"]), rel=1e-3)

        result = (await probe.ask("pick", x=24, y=20, what="focus"))["result"]
        assert result["applied"] is True
        assert octane.pins.get(1000008, node.P_FOCAL_DEPTH) == pytest.approx(result["distance"], rel=1e-4)
        assert octane.pins.get(1000008, node.P_AUTOFOCUS) is False
        result = (await probe.ask("pick", x=24, y=0, what="object"))["result"]
        assert result == {"x": 24, "y": 0, "what": "object", "found": False}


@both
async def test_a_white_point_is_picked_and_applied(generation):
    async with commanded(replace(STEADY, generation=generation)) as (_, probe):
        answer = await probe.ask("pick", x=24, y=20, what="white_point")

        result = answer["result"]
        assert result["applied"] is True and max(answer["tonemap"]["white_balance"]) == pytest.approx(1)
        red, green, blue = result["white_point"]
        assert answer["tonemap"]["white_balance"][1] == pytest.approx(green / max(red, green, blue), rel=1e-3)


async def test_a_pick_outside_of_the_picture_is_refused_and_reaches_no_octane():
    async with commanded() as (octane, probe):
        for given, named in (
            ({"x": 48, "y": 0, "what": "object"}, "^x must be less than 48, the width of the picture$"),
            ({"x": 0, "y": 27, "what": "object"}, "^y must be less than 27, the height of the picture$"),
            ({"x": 0.5, "y": 0, "what": "object"}, "^x.* must "),
            ({"x": -1, "y": 0, "what": "object"}, "^x.* must "),
            ({"x": 1, "y": 0, "what": "everything"}, "^what.* must .*focus"),
        ):
            with pytest.raises(Reject, match=named):
                await probe.ask("pick", **given)

        assert octane.calls["pick"] == octane.calls["pickWhitePoint"] == 0
