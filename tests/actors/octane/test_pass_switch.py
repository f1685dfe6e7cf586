"""Passes are switched on for who watches them, beside those that others chose, and none is asked for that is not rendered."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actors.octane.client import OctaneClient
from actors.octane.pass_switch import INSIST_SECONDS, PassSwitch
from protos import octane_types_pb2 as wire
from tests.actors.octane.simulation import LONG, serving, simulated

BEAUTY, DEPTH, NORMAL = wire.RENDER_PASS_BEAUTY, wire.RENDER_PASS_Z_DEPTH, wire.RENDER_PASS_SHADING_NORMAL


def statistics(tonemapped: list[int], rendered: list[int]) -> wire.RenderResultStatistics:
    return wire.RenderResultStatistics(
        tonemapPasses=wire.ApiArrayRenderPassId(data=tonemapped),
        renderPasses=wire.ApiArrayRenderPassId(data=rendered),
    )


async def test_the_order_is_that_of_the_render_and_not_that_of_the_request():
    async with simulated(replace(LONG, passes=3)) as octane, OctaneClient(octane.address) as client:
        switch = PassSwitch(client)
        switch.saw(await client.statistics())
        for tracks in (["shading_normal"], ["shading_normal", "z_depth"]):
            switch.want(tracks)
            assert switch.due(0.0) and await switch.switch(0.0)

        assert octane.tonemapped == switch.order == [BEAUTY, DEPTH, NORMAL]
        assert not switch.due(0.0) and not switch.due(100.0)

        switch.want([])
        assert switch.due(1.0) and await switch.switch(1.0)
        assert octane.tonemapped == [BEAUTY]


def test_nothing_is_switched_before_octane_has_said_what_is_on():
    switch = PassSwitch(OctaneClient("127.0.0.1:1"))
    switch.want(["z_depth"])

    assert not switch.due(0.0)


@pytest.mark.parametrize("tracks", [["z_depth"], ["pass-19999"], ["image-2"], ["beauty"], []])
def test_a_pass_that_is_not_rendered_is_not_asked_for(tracks):
    switch = PassSwitch(OctaneClient("127.0.0.1:1"))
    switch.saw(statistics([BEAUTY], [BEAUTY, NORMAL]))
    switch.want(tracks)

    assert not switch.due(0.0)


async def test_what_somebody_else_switches_off_is_switched_on_again_but_not_at_once():
    async with simulated(replace(LONG, passes=2)) as octane, OctaneClient(octane.address) as client:
        switch = PassSwitch(client)
        switch.saw(await client.statistics())
        switch.want(["z_depth"])
        await switch.switch(0.0)

        octane.tonemap_passes = [BEAUTY]
        switch.saw(await client.statistics())

        assert not switch.due(INSIST_SECONDS / 2) and switch.due(INSIST_SECONDS)


async def test_a_refusal_is_not_asked_for_again_until_something_else_is_wanted():
    async with serving() as address, OctaneClient(address) as client:
        switch = PassSwitch(client)
        switch.saw(statistics([BEAUTY], []))
        switch.want(["z_depth"])

        assert switch.due(0.0) and not await switch.switch(0.0)

        assert switch.order == [BEAUTY] and not switch.due(100.0)
        switch.want(["shading_normal"])
        assert switch.due(100.0)
