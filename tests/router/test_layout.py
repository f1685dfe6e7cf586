"""The layout of EVENTS: which stream holds which events."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.broker import Broker
from router.layout import FIRST, MAX_SHARDS, ORIGINAL, Layout, generation, original_subject, partition, stream_name
from router.subject import matches
from router.topology import EVENTS

TOKENS = st.text("abcXYZ019_=-", min_size=1, max_size=8)
SUBJECTS = st.lists(TOKENS, min_size=3, max_size=5).map(".".join)
FEW = st.sampled_from(["a", "b", "c", "d"])
PATTERNS = st.builds(
    lambda tokens, rest: ".".join([*tokens, *rest]),
    st.lists(st.sampled_from(["a", "b", "c", "d", "*"]), max_size=4),
    st.sampled_from([[], [">"]]),
).filter(bool)


def test_an_installation_that_was_never_resharded_has_its_one_stream() -> None:
    assert [shard.stream for shard in FIRST.current.shards] == [EVENTS]
    assert FIRST.shard_of("orders.42.placed").stored("orders.42.placed") == "ev.orders.42.placed"
    assert FIRST.shards_of((">",)) == (ORIGINAL,)


@given(SUBJECTS, st.integers(1, MAX_SHARDS), st.integers(1, 9))
def test_every_subject_is_taken_by_one_shard_and_comes_back_from_what_is_stored(
    subject: str, count: int, number: int
) -> None:
    shard = generation(number, count).shard_of(subject)

    assert shard.stream == stream_name(number, shard.index) == f"EVENTS_{number}_{shard.index}"
    assert shard.stored(subject) == f"evs.{number}.{shard.index}.{subject}"
    assert original_subject(shard.stored(subject)) == subject
    assert original_subject(ORIGINAL.stored(subject)) == subject


@given(TOKENS, TOKENS, SUBJECTS, SUBJECTS, st.integers(1, MAX_SHARDS))
def test_all_events_of_a_domain_and_entity_are_in_one_shard(
    domain: str, entity: str, one: str, other: str, count: int
) -> None:
    found = generation(1, count)

    assert found.shard_of(f"{domain}.{entity}.{one}") is found.shard_of(f"{domain}.{entity}.{other}")


@given(st.lists(FEW, min_size=3, max_size=4).map(".".join), st.lists(PATTERNS, min_size=1, max_size=3))
def test_the_shards_of_patterns_hold_every_event_that_matches_one(subject: str, patterns: list[str]) -> None:
    layout = Layout.of([(0, 1), (1, 3)], {0: (7,)})

    if any(matches(pattern, subject) for pattern in patterns):
        assert layout.shard_of(subject) in layout.shards_of(patterns)


def test_patterns_of_one_entity_are_read_from_one_shard() -> None:
    layout = Layout.of([(1, 5)])

    assert layout.shards_of(("orders.42.>", "orders.42.placed")) == (layout.shard_of("orders.42.placed"),)
    assert len(layout.shards_of(("orders.*.placed",))) == len(layout.shards_of((">",))) == 5


async def test_the_partition_is_the_one_that_the_server_computes(broker: Broker, entity: str) -> None:
    # Operators may map subjects to shards by this, for publishers in other languages.
    name, api = f"PARTED-{entity}", broker.connection.ask
    subjects = [f"d{number}.{entity}{number * number}.placed.x" for number in range(20)]
    made = {
        "name": name,
        "subjects": ["parted.>"],
        "storage": "memory",
        "subject_transform": {
            "src": "parted.*.*.>",
            "dest": "p.{{partition(7,1,2)}}.{{wildcard(1)}}.{{wildcard(2)}}.>",
        },
    }
    await api(f"$JS.API.STREAM.CREATE.{name}", msgspec.json.encode(made), timeout=5)
    try:
        for subject in subjects:
            await api(f"parted.{subject}", b"", timeout=5)
        info = await broker.stream(name).subjects(">")
    finally:
        await api(f"$JS.API.STREAM.DELETE.{name}", b"", timeout=5)

    assert sorted(info.subjects) == sorted(f"p.{partition(subject, 7)}.{subject}" for subject in subjects)


def test_the_epoch_of_a_generation_names_those_of_all_its_shards() -> None:
    found = generation(1, 2).with_epochs(["0badcafe", "5f3a9c1e"])
    layout = Layout((generation(0).with_epochs(["77e01a3c"]), found))

    assert found.epoch == "0badcafe,5f3a9c1e"
    assert layout.by_epoch["5f3a9c1e"] is found.shards[1]
    assert layout.by_stream["EVENTS_1_1"] is found.shards[1]
    assert layout.generation(0) is layout.generations[0]
    assert layout.generation(2) is None


@pytest.mark.parametrize(("number", "count"), [(0, 2), (1, 0), (1, MAX_SHARDS + 1)])
def test_a_number_of_shards_that_a_generation_cannot_have_is_refused(number: int, count: int) -> None:
    with pytest.raises(ValueError, match="cannot have"):
        generation(number, count)
