"""The index of views: it finds what asking each view would find, and a change touches nothing but its own entries."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.filters import matching
from edge.filters.matching import Matching
from edge.hub.hub import Hub
from edge.view import View
from router.broker import Broker
from router.event import Event
from router.position import of_one
from tests.edge.asked import Asked
from tests.waiting import PATIENCE, eventually

TOKENS = ["a", "b", "session", "s1", "s2"]
KINDS = ["done", "failed", "progress", "token"]
SUBJECTS = st.lists(st.sampled_from(TOKENS), min_size=3, max_size=4).map(".".join)
PATTERNS = st.builds(
    lambda tokens, rest: ".".join([*tokens, *rest]),
    st.lists(st.sampled_from([*TOKENS, "*"]), max_size=4),
    st.sampled_from([[], [">"]]),
).filter(bool)
VIEWS = st.builds(
    View.of,
    st.sampled_from(["s1", "s2", "s3"]),
    st.none() | st.lists(PATTERNS, min_size=1, max_size=4),
    st.none() | st.lists(st.sampled_from(KINDS), min_size=1, max_size=3),
    st.none() | st.sampled_from(["data.n > 1", "data.m == 2"]),
    st.booleans(),
    st.none() | st.lists(PATTERNS, min_size=1, max_size=2).map(tuple),
)
CHANGES = st.lists(st.tuples(st.integers(0, 6), st.none() | VIEWS), max_size=25)


@pytest.mark.parametrize("pairs", [matching.MAX_PAIRS, 2])
def test_what_the_index_finds_is_what_asking_every_view_finds(pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "MAX_PAIRS", pairs)

    @given(CHANGES, st.lists(st.tuples(SUBJECTS, st.sampled_from(KINDS), st.booleans()), min_size=1, max_size=4))
    def under_random_changes(changes: list[tuple[int, View | None]], asked: list[tuple[str, str, bool]]) -> None:
        # Few are remembered, so that they are forgotten now and then, too.
        index: Matching[int] = Matching(most=3, most_references=8)
        views: dict[int, View] = {}
        for key, view in [*changes, (0, None)]:
            for subject, kind, partial in asked:
                match = index.find(subject, kind, partial)
                admitted = {key for key, view in views.items() if view.admits(subject, kind, partial)}
                assert sorted(match.keys) == sorted(admitted)
                assert match.wanted.any == any(views[key].dynamic for key in admitted)
            if view is None:
                index.discard(key)
                views.pop(key, None)
            else:
                index.put(key, view)
                views[key] = view
            assert set(index) == set(views) and len(index) == len(views)

        for key in list(views):
            index.discard(key)
        assert not index._addressed and not len(index._asked) and not len(index._broad)

    under_random_changes()


def view(*subjects: str, types: list[str] | None = None) -> View:
    return View.of("sess_1", list(subjects), types, None)


def test_what_was_found_stays_while_others_are_added_changed_and_removed() -> None:
    index: Matching[str] = Matching()
    index.put("reader", view("job.one.>"))
    index.put("typed", view("job.>", types=["done"]))
    found = index.find("job.one.done", "done")
    assert set(found.keys) == {"reader", "typed"}

    index.put("other", view("job.two.>"))
    assert index.find("job.one.done", "done") is found
    index.put("other", view("job.one.>", types=["failed"]))
    assert index.find("job.one.done", "done") is found
    index.discard("other")
    assert index.find("job.one.done", "done") is found

    index.put("third", view("*.one.*"))
    assert set(index.find("job.one.done", "done").keys) == {"reader", "typed", "third"}


def test_a_view_is_asked_nothing_unless_its_patterns_and_types_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    # Whoever would ask each view would fail here.
    def forbidden(*_: object) -> bool:
        raise AssertionError("a view was asked")

    monkeypatch.setattr(View, "admits", forbidden)
    index: Matching[int] = Matching()
    for number in range(1000):
        index.put(number, view(f"agent.run-{number}.>"))
        index.put(-number - 1, view("agent.*.*", types=[f"kind_{number}"]))

    assert set(index.find("agent.run-7.kind_9", "kind_9").keys) == {7, -10}


def test_what_is_remembered_is_bounded_by_subjects_and_by_views() -> None:
    index: Matching[int] = Matching(most=10, most_references=50)
    for number in range(8):
        index.put(number, view(">"))

    for number in range(100):
        assert len(index.find(f"job.n{number}.done", "done").keys) == 8

    assert len(index._known) == 6 and index._references == 48
    index.clear()
    assert len(index) == 0 and index.find("job.n1.done", "done").keys == ()


def test_a_view_with_many_patterns_and_types_takes_up_little() -> None:
    index: Matching[str] = Matching()
    patterns = [f"job.n{number}.>" for number in range(64)]
    types = [f"kind_{number}" for number in range(128)]
    index.put("wide", view(*patterns, types=types))
    index.put("narrow", view("job.n1.>", types=["kind_1"]))

    assert set(index.find("job.n1.kind_1", "kind_1").keys) == {"wide", "narrow"}
    assert index.find("job.n1.other", "other").keys == ()
    place = index._asked.get("job.n1.>")
    assert place is not None and len(place.typed) == 1 and list(place.wide.keys) == ["wide"]


async def test_the_hub_asks_no_feed_about_an_event_that_is_new_to_it(
    broker: Broker, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(broker)
    running = asyncio.ensure_future(hub.run())
    try:
        await hub.integrity.steady(PATIENCE)
        feeds = [await hub.join(View.of("s", [f"job.{entity}-{n}.>"], None, None)) for n in range(20)]
        feeds.append(await hub.join(View.of("s", [f"job.{entity}-0.>"], None, None)))
        assert len(hub._matching) == 20
        asked = Asked(monkeypatch)

        for number in range(20):
            last = await broker.publish(Event.new(f"job.{entity}-{number}.kind_{number}", {}))

        await eventually(lambda: hub.position.reaches(of_one(last.sequence)))
        assert asked.times == 0
        for feed in feeds:
            await hub.leave(feed)
        assert len(hub._matching) == 0
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
