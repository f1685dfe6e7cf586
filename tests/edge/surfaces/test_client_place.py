"""Whether a client has had the end of a run, by the place that it says."""

from __future__ import annotations

import pytest

from edge.surfaces.client_place import ClientPlace
from router.event_place import place_in
from router.layout import generation
from router.position import Position, of_one
from tests.edge.conftest import RunningEdge
from tests.edge.surfaces.conftest import streaming

OLD, NEW = generation(1, 2).shards[1], generation(2, 2).shards[1]


@pytest.mark.parametrize(
    ("place", "has"),
    [
        (ClientPlace(), False),
        (ClientPlace(foreign=True), False),
        (ClientPlace(Position(1, (0, 8))), False),
        (ClientPlace(Position(1, (0, 9))), True),
        (ClientPlace(Position(1, (0, 9)), had=2), False),
        # Behind it everything counts as had, also what it has in part.
        (ClientPlace(Position(1, (0, 10)), had=2), True),
        (ClientPlace(Position(2, (0, 0))), True),
        (ClientPlace(of_one(99)), False),
    ],
)
def test_a_client_has_the_end_of_a_run_or_some_of_it_or_nothing(place: ClientPlace, has: bool) -> None:
    assert place.has(place_in(OLD, 9)) is has
    assert not place.has(place_in(NEW, 9))


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize("others", [0, 5, 99])
def test_how_far_the_other_shards_were_read_says_nothing_of_an_event(index: int, others: int) -> None:
    shard = generation(1, 3).shards[index]
    at = Position(1, (others,) * 3).at(shard, 9)

    assert ClientPlace(at).has(place_in(shard, 9)) and not ClientPlace(at).has(place_in(shard, 10))
    assert not ClientPlace(at, had=1).has(place_in(shard, 9)) and ClientPlace(at, had=1).has(place_in(shard, 8))


async def test_a_client_that_says_the_beginning_or_a_place_of_its_own_has_had_nothing(
    edge: RunningEdge, entity: str
) -> None:
    await edge.publish({"subject": f"agent.{entity}.completion", "data": {"success": True}})

    for said, told in (("-1", b""), ("mine", b"gap")):
        async with streaming(edge, f"/agent-run/{entity}/stream", last=said) as stream:
            text = await stream.rest()
        assert b"done" in text and told in text and (b"gap" in text) is bool(told)
