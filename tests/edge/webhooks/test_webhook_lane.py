from __future__ import annotations

from edge.webhooks.lane import Lane, LaneSettings
from edge.webhooks.outcome import of_status

SETTINGS = LaneSettings(concurrency=4, concurrency_failing=1, waiting=2, failing_after=3)
GOOD, BAD = of_status(200, None, 0.0), of_status(503, None, 0.0)


def test_an_endpoint_that_answers_has_all_places():
    lane = Lane(SETTINGS)
    lane.under_way = 3

    assert lane.has_place and lane.may_wait
    lane.under_way = 4
    assert not lane.has_place


def test_an_endpoint_that_fails_has_few_places_and_nobody_waits_behind_it():
    lane = Lane(SETTINGS)
    for _ in range(3):
        lane.note(BAD)
    lane.under_way = 1

    assert lane.failing and not lane.has_place and not lane.may_wait


def test_one_success_makes_it_well_again():
    lane = Lane(SETTINGS)
    for outcome in (BAD, BAD, BAD, GOOD):
        lane.note(outcome)

    assert not lane.failing
