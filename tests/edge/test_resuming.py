"""What clients send as their last event id, and the bytes of an event that they read: any spelling resumes, none ends them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.dialects.table import SESSION_DIALECTS
from edge.transports.encoders import SseEncoder
from edge.transports.event_stream import one_line
from edge.types import Batch, Notice
from router.codec import encode, to_json
from router.event import Event
from router.record import Record
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.waiting import eventually

# U+0085, U+2028 and U+2029 as they are; JSON escapes the others that str.splitlines takes for the end of a line.
LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"


def numbers(events: list[dict[str, Any]]) -> list[int]:
    return [event["data"]["n"] for event in events]


def record(**data: Any) -> Record:
    event = Event.new("job.lines.output", data)
    return Record(7, "job.lines.output", encode(event))


@pytest.mark.parametrize("name", ["lastEventId", "lastEventID", "last_event_id", "Last-Event-ID"])
async def test_a_last_event_id_in_the_query_resumes_as_polyfills_send_it(
    edge: RunningEdge, entity: str, name: str
) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    cursors = await edge.numbers(entity, 10)

    async with edge.sse(session, f"?cursor={cursors[0]}&{name}={cursors[6]}") as stream:
        assert numbers(await stream.events(3)) == [7, 8, 9]
    assert stream.controls[0][2]["recovered"] is True


async def test_the_header_wins_over_every_id_in_the_query_and_the_last_of_those_over_the_others(
    edge: RunningEdge, entity: str
) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    cursors = await edge.numbers(entity, 10)
    query = f"?lastEventId={cursors[1]}&last=5&lastEventId={cursors[4]}"

    async with edge.sse(session, query) as stream:
        assert numbers(await stream.events(5)) == [5, 6, 7, 8, 9]
    async with edge.sse(session, query, headers={"Last-Event-ID": cursors[7]}) as stream:
        assert numbers(await stream.events(2)) == [8, 9]


STRANGE = ["0", "1", "null", "undefined", "0190d7a1-6c1e-7cc4-8000-1f2e3d4c5b6a", "1-5f3a9c1e", "x" * 300, "%00%F0%9F"]


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "asgi"])
async def test_an_id_that_was_never_ours_is_answered_by_a_gap_and_reading_goes_on(
    edge_factory: EdgeFactory, entity: str, lane: bool
) -> None:
    async with edge_factory(lane=lane) as edge:
        before = await edge.numbers(entity, 2)
        session = await edge.session(subjects=[f"job.{entity}.>"])
        cursors = await edge.numbers(entity, 4, start=2)
        for strange in STRANGE:
            ways = [("", {"Last-Event-ID": strange}), (f"?lastEventId={strange}", {})]
            for query, headers in ways:
                # Without a word from the address: where the session begins.
                async with edge.sse(session, query, headers=headers) as stream:
                    assert numbers(await stream.events(4)) == [2, 3, 4, 5]
                # Behind these two a reader that is slow has heartbeats or positions.
                (_, _, ready), (name, _, gap) = stream.controls[:2]
                assert (ready["recovered"], name, gap["reset"]) == (False, "gap", True)
                assert before[-1] <= gap["to"] < cursors[0]

        async with edge.sse(session, f"?cursor={cursors[1]}", headers={"Last-Event-ID": "0"}) as stream:
            assert numbers(await stream.events(2)) == [4, 5]
        assert [name for name, _, _ in stream.controls[:2]] == ["ready", "gap"]
        assert stream.controls[1][2]["to"] == cursors[1]


async def test_an_empty_id_is_none_and_a_cursor_that_somebody_typed_wrong_is_still_refused(
    edge: RunningEdge, entity: str
) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    await edge.numbers(entity, 1)

    async with edge.sse(session, "?lastEventId=", headers={"Last-Event-ID": ""}) as stream:
        assert numbers(await stream.events(1)) == [0]
    refused = await edge.http.get(f"/callbacks/sessions/{session}/sse?cursor=nope")

    assert [name for name, _, _ in stream.controls] == ["ready"]
    assert (refused.status_code, refused.json()["code"]) == (400, "bad_cursor")


@pytest.mark.parametrize("dialect", sorted(SESSION_DIALECTS))
def test_data_comes_before_the_id_in_every_event(dialect: str) -> None:
    made = SseEncoder(SESSION_DIALECTS[dialect]).events(Batch([record(n=1), record(n=2)], "5f3a9c1e"))

    for event in made.removesuffix(b"\n\n").split(b"\n\n"):
        assert [line.partition(b":")[0] for line in event.split(b"\n")] == [b"data", b"id"]


@pytest.mark.parametrize("control", ["ready", "gap", "position", "bye", "expiring"])
def test_data_comes_before_the_id_in_every_notice(control: str) -> None:
    said = SseEncoder(SESSION_DIALECTS["callback"]).notice(
        Notice(control, {"cursor": "1-5f3a9c1e-000000000007", "why": LINE_ENDS})
    )
    fields = [line.partition(b":")[0] for line in said.removesuffix(b"\n\n").split(b"\n")]

    assert fields[-2:] == [b"data", b"id"]
    assert said.decode().splitlines() == said.decode().split("\n")[:-1]


@pytest.mark.parametrize("dialect", sorted(SESSION_DIALECTS))
def test_no_character_of_an_event_ends_a_line_for_any_reader(dialect: str) -> None:
    text = f"a{LINE_ENDS}b — “quoted” é"
    made = SseEncoder(SESSION_DIALECTS[dialect]).events(Batch([record(text=text, **{LINE_ENDS: 1})], "5f3a9c1e"))
    lines = made.decode().splitlines()

    assert len(lines) == 3
    said = json.loads(lines[0].removeprefix("data: "))
    assert said["data"].get("text", said["data"].get("data", {}).get("text")) == text


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_whatever_is_escaped_is_read_back_as_it_was(value: object) -> None:
    made = one_line(to_json(value))

    assert json.loads(made) == json.loads(to_json(value))
    assert len(made.decode().splitlines()) == 1


async def test_a_reader_that_splits_lines_as_python_does_reads_every_event_whole(
    edge: RunningEdge, entity: str
) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    await edge.publish({"subject": f"job.{entity}.output", "data": {"n": 0, "text": LINE_ENDS}})
    seen: list[Any] = []

    async def read() -> bool:
        async with edge.http.stream("GET", f"/callbacks/sessions/{session}/sse") as answer:
            # httpx's own lines: those of str.splitlines.
            async for line in answer.aiter_lines():
                if line.startswith("data: ") and '"text"' in line:
                    seen.append(json.loads(line[6:])["data"]["text"])
                    return True
        return False

    await eventually(read)

    assert seen == [LINE_ENDS]
