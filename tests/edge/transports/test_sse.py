"""Server-sent events: how a stream begins, and where it goes on."""

from __future__ import annotations

from tests.edge.conftest import EdgeFactory, RunningEdge, n
from tests.edge.transports.scanning import scanning


async def test_the_first_thing_on_sse_is_a_named_ready_with_an_id(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    async with edge.sse(session) as stream:
        name, cursor, data = await stream.next()

        assert name == "ready" and cursor == data["cursor"]
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert "no-transform" in stream.headers["cache-control"]
        assert stream.headers["x-accel-buffering"] == "no"


async def test_the_last_event_id_header_wins_over_the_query(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    cursors = await edge.numbers(entity, 10)

    async with edge.sse(session, f"?cursor={cursors[0]}", headers={"Last-Event-ID": cursors[6]}) as stream:
        assert n(await stream.events(3)) == [7, 8, 9]


async def test_a_stream_that_replays_what_it_does_not_show_gets_its_one_event(
    edge_factory: EdgeFactory, entity: str
) -> None:
    async with scanning(edge_factory, entity) as (edge, session):
        async with edge.sse(session, "?cursor=earliest") as stream:
            assert n(await stream.events(1)) == [-1]
        await edge.numbers(entity, 1, start=-2)
        assert n((await edge.poll(session, "?last=1"))["events"]) == [-2]
