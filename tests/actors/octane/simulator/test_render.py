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
