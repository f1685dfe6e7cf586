"""The simulator's render over time."""

from __future__ import annotations

from actors.octane.simulator.render import Render
from protos import octane_types_pb2 as wire


def test_a_finished_render_rests_and_makes_room_for_the_next_view():
    progress = Render(max_samples=10, samples_per_second=10, rest=5)
    progress.loaded()
    assert not progress.advance(100.0)
    assert progress.advance(100.5) and progress.samples == 5
    progress.pause()
    assert not progress.advance(200.0) and progress.samples == 5
    progress.resume()
    assert progress.advance(201.0) and (progress.samples, progress.state) == (10, wire.RSTATE_FINISHED)

    progress.advance(204.0)
    assert progress.state == wire.RSTATE_FINISHED
    progress.advance(206.5)
    assert (progress.state, progress.samples, progress.view) == (wire.RSTATE_WAITING_FOR_DATA, 0, 1)


def test_a_region_gets_samples_of_its_own_while_those_of_the_picture_stand():
    progress = Render(max_samples=100, samples_per_second=10, rest=5)
    progress.loaded()
    progress.advance(0.0)
    progress.advance(1.0)
    progress.limit((2, 2, 8, 8))

    assert progress.advance(3.0)
    assert (progress.samples, progress.region_samples) == (10, 30)
    progress.limit(None)
    assert (progress.samples, progress.region_samples) == (10, 10)
    assert progress.advance(4.0) and progress.samples == 20


def test_a_region_is_finished_on_its_own_and_the_rest_goes_on_without_it():
    progress = Render(max_samples=10, samples_per_second=10, rest=5)
    progress.loaded()
    progress.limit((0, 0, 4, 4))
    progress.advance(0.0)
    progress.advance(2.0)
    assert (progress.state, progress.samples, progress.region_samples) == (wire.RSTATE_FINISHED, 0, 10)

    progress.limit(None)

    assert progress.state == wire.RSTATE_RENDERING
