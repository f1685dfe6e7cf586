"""Where readers begin: at the places that they name, and behind a gap where a cursor names no place of this stream."""

from __future__ import annotations

from tests.edge.conftest import RunningEdge, n


async def test_last_since_earliest_and_now(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    await edge.numbers(entity, 10)
    seen = (await edge.poll(session))["events"]

    assert n((await edge.poll(session, "?last=3"))["events"]) == [7, 8, 9]
    assert n((await edge.poll(session, "?last=0"))["events"]) == []
    assert n((await edge.poll(session, "?cursor=earliest"))["events"]) == list(range(10))
    assert n((await edge.poll(session, "?cursor=now"))["events"]) == []
    assert n((await edge.poll(session, f"?since={seen[0]['timestamp']}"))["events"])[-3:] == [7, 8, 9]
    assert n((await edge.poll(session, "?since=undefined&cursor="))["events"]) == list(range(10))


async def test_a_foreign_or_future_cursor_is_answered_by_a_gap(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    (cursor,) = await edge.numbers(entity, 1)
    epoch = cursor.split("-")[1]

    async with edge.socket(session, "?cursor=1-00000000-000000000001") as foreign:
        ready = await foreign.control("ready")
        gap = await foreign.control("gap")
        assert ready["recovered"] is False and gap["reset"] is True
        assert n(await foreign.events(1)) == [0]
    async with edge.socket(session, f"?cursor=1-{epoch}-ffffffffff00") as future:
        assert (await future.control("gap"))["reset"] is True
        await edge.numbers(entity, 1, start=1)
        # The stream was restored to what it was before that: all that is kept may be new to the reader.
        assert n(await future.events(2)) == [0, 1]
