"""What three requests do in an edge that runs: nothing of it twice that is plain wrong twice."""

from __future__ import annotations

from ops.shape import walks
from ops.shape.walks import Walk


async def test_an_event_is_packed_once_on_its_way_and_no_view_is_made_for_it() -> None:
    async with walks.house() as place:
        walk = await walks.to_a_websocket(place)

    assert (walk.packs, walk.views) == (1, 0)
    # The subject is one that no actor takes.
    assert not any(name.startswith("actors/") for name in walk.files)
    assert walk.visits == dict.fromkeys(
        (
            "edge/http/direct.py",
            "edge/http/ingest.py",
            "edge/http/batch.py",
            "router/broker.py",
            "router/live_subscription.py",
            "router/live.py",
            "edge/hub/hub.py",
            "edge/hub/group.py",
            "edge/transports/encoders.py",
        ),
        1,
    )
    assert walk.visits.keys() <= walk.files


async def test_a_session_that_is_made_has_one_view_and_is_announced_once() -> None:
    async with walks.house() as place:
        walk = await walks.of_a_session(place)

    assert (walk.views, walk.announcements) == (1, 1)


async def test_an_event_that_is_posted_is_packed_once() -> None:
    async with walks.house() as place:
        walk = await walks.to_a_webhook(place)

    assert walk.packs == 1 and "edge/webhooks/worker/worker.py" in walk.visits


async def test_files_count_only_where_every_walk_touches_them() -> None:
    walked = iter(
        Walk("s1", {"edge/app.py", *extra}, {("edge/app.py", "handle")}, ["edge/app.py"], set())
        for extra in ([], ["edge/sweep.py"])
    )

    async def follow(_place: walks.House) -> Walk:
        return next(walked)

    found = await walks.common(follow, None, times=2)

    assert found.files == {"edge/app.py"}


def test_a_file_is_visited_again_only_after_another_one_that_hands_the_event_on() -> None:
    walk = Walk("s1", set(), set(), ["a", "b", "a", "c", "a"], {"a", "b"})

    assert walk.visits == {"a": 2, "b": 1}
    assert walk.twice == 1
