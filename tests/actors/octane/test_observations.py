"""What one observation of an Octane says beside another."""

from __future__ import annotations

import pytest

from actors.octane.observations import RenderProgress, Sampled


def test_a_render_has_ended_where_it_was_rendering_or_was_not_stopped_or_nobody_looked_yet():
    going, waiting = Sampled(RenderProgress(samples=1), rendering=True), Sampled(RenderProgress(), rendering=False)
    stopped = Sampled(RenderProgress(), rendering=False, stopped=True)

    assert [stopped.ended(last) for last in (None, going, waiting, stopped)] == [True, True, True, False]
    assert [waiting.ended(last) for last in (None, going, waiting, stopped)] == [True, True, False, False]
    assert not going.ended(None)


@pytest.mark.parametrize(
    ("other", "covered"),
    [
        (RenderProgress(3, 0, 10, 2), True),
        (RenderProgress(3, 0, 9, 1), True),
        (RenderProgress(3, 0, 11, 2), False),
        (RenderProgress(3, 0, 10, 3), False),
        (RenderProgress(4, 0, 10, 2), False),
    ],
)
def test_a_picture_covers_what_has_no_more_samples_of_the_same_scene(other, covered):
    assert RenderProgress(3, 0, 10, 2).covers(other) is covered


def test_a_picture_without_numbers_covers_nothing():
    assert not RenderProgress().some and not RenderProgress().covers(RenderProgress())
