"""One number for each place of an event."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.event_place import BEFORE_ALL, locate, place_in, place_of, reached
from router.layout import MAX_SHARDS, ORIGINAL, generation
from router.position import Position, lacking, of_one, placed

sequences = st.integers(1, 10**12)
shards = st.builds(
    lambda number, index: generation(number, MAX_SHARDS).shards[index],
    st.integers(1, 500),
    st.integers(0, MAX_SHARDS - 1),
)


@given(sequences)
def test_the_place_of_an_event_of_the_first_generation_is_its_sequence(sequence: int) -> None:
    assert place_in(ORIGINAL, sequence) == place_of("EVENTS", sequence) == sequence
    assert locate(sequence).shard is ORIGINAL and locate(sequence).sequence == sequence


@given(shards, sequences, shards, sequences)
def test_each_place_has_a_number_of_its_own_in_the_order_of_generations_and_sequences(
    one, first, other, second
) -> None:
    place, later = place_in(one, first), place_in(other, second)

    found = locate(place)
    assert (found.stream, found.sequence, found.shard.stored("a.b.c")) == (one.stream, first, one.stored("a.b.c"))
    assert place_of(one.stream, first) == place
    assert (place == later) == ((one.stream, first) == (other.stream, second))
    if one.generation != other.generation:
        assert (place < later) == (one.generation < other.generation)
    if one.stream == other.stream:
        assert (place < later) == (first < second)


def test_the_sequence_of_another_stream_is_its_own_place() -> None:
    for stream in ("HOOKS", "EVENTS_a_0", "EVENTS_1", "KV_LEASES", "OTHER_1_0"):
        assert place_of(stream, 7) == 7


@given(shards, sequences, st.integers(0, 3))
def test_a_place_is_reached_by_who_has_read_its_shard_so_far_or_a_later_generation(shard, sequence, behind) -> None:
    place = place_in(shard, sequence)

    assert placed(shard, sequence + behind).reaches(reached(place))
    # Whatever was read of the other shards.
    assert lacking(shard, sequence - behind).reaches(reached(place)) == (not behind)
    assert Position(shard.generation + 1, (0,)).reaches(reached(place))
    assert not of_one(sequence).reaches(reached(place))
    assert of_one(0).reaches(reached(BEFORE_ALL))
