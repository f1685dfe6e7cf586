"""What three requests do in an edge that runs: nothing of it twice that is plain wrong twice."""

from __future__ import annotations

from ops.shape import walks


async def test_an_event_is_packed_once_on_its_way_and_no_view_is_made_for_it() -> None:
    async with walks.house() as place:
        walk = await walks.to_a_websocket(place)

    assert (walk.packs, walk.views) == (1, 0)
    assert (
        {"edge/http/ingest.py", "router/broker.py", "router/live.py", "edge/hub/hub.py"}
        <= walk.visits.keys()
        <= walk.files
    )


async def test_a_session_that_is_made_has_one_view_and_is_announced_once() -> None:
    async with walks.house() as place:
        walk = await walks.of_a_session(place)

    assert (walk.views, walk.announcements) == (1, 1)


async def test_an_event_that_is_posted_is_packed_once() -> None:
    async with walks.house() as place:
        walk = await walks.to_a_webhook(place)

    assert walk.packs == 1 and "edge/webhooks/worker/worker.py" in walk.visits
