"""Tests of actors/octane/simulator/reporting.py: statistics say what the render and its settings are."""

from __future__ import annotations

from dataclasses import replace

from actors.octane.simulator.faults import OctaneFault
from actors.octane.simulator.packing import Tonemap
from actors.octane.simulator.reporting import statistics_of
from actors.octane.simulator.simulator import Simulator
from protos import octane_types_pb2 as wire
from tests.actors.octane.simulation import LONG


def rendering(seconds: float = 1.0, **settings: object) -> Simulator:
    """An Octane that has rendered for so long, by a clock of its own."""
    octane = Simulator(replace(LONG, **settings))
    octane.render.loaded()
    octane.render.advance(0.0)
    octane.render.advance(seconds)
    return octane


def test_samples_and_speed_are_those_of_the_render_and_a_paused_one_has_no_speed() -> None:
    octane = rendering(0.5)
    going = statistics_of(octane)
    octane.render.pause()
    paused = statistics_of(octane)

    assert (going.setSize.x, going.usedSize.y) == (48, 27)
    assert (going.beautySamplesPerPixel, going.beautyMaxSamplesPerPixel, going.renderTime) == (20, 100_000, 0.5)
    assert (going.state, paused.state) == (wire.RSTATE_RENDERING, wire.RSTATE_PAUSED)
    assert (going.beautySamplesPerSecond, paused.beautySamplesPerSecond) == (48 * 27 * 40, 0)
    assert going.estimatedRenderTime == 100_000 / 40


def test_a_region_counts_its_own_samples() -> None:
    octane = rendering(0.5)
    octane.render.limit((4, 3, 40, 20))
    octane.render.advance(1.0)

    statistics = statistics_of(octane)

    assert (statistics.beautySamplesPerPixel, statistics.regionSamplesPerPixel) == (20, 40)


def test_passes_are_those_enabled_and_those_that_are_tonemapped() -> None:
    octane = rendering(passes=3)
    octane.tonemap_passes = [wire.RENDER_PASS_Z_DEPTH, wire.RENDER_PASS_POSITION]

    statistics = statistics_of(octane)

    assert statistics.passesCount == len(statistics.renderPasses.data) == 3
    # A pass that was asked for and is not enabled is not among them.
    assert list(statistics.tonemapPasses.data) == [wire.RENDER_PASS_Z_DEPTH] and statistics.tonemapPassesCount == 1


def test_the_tonemap_and_pending_updates_are_told() -> None:
    octane = rendering(alpha=True)
    octane.controls.tonemap = Tonemap(wire.TONEMAP_BUFFER_TYPE_HDR_FLOAT, wire.NAMED_COLOR_SPACE_ACESCG)
    octane.strike(OctaneFault.PENDING)

    told = statistics_of(octane)
    octane.clear()

    assert told.isLinear and told.hasAlpha and told.hasPendingUpdates
    assert (told.bufferType, told.colorSpace) == (wire.TONEMAP_BUFFER_TYPE_HDR_FLOAT, wire.NAMED_COLOR_SPACE_ACESCG)
    assert not statistics_of(octane).hasPendingUpdates and not statistics_of(rendering()).isLinear
