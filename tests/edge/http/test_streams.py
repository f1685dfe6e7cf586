"""The queries of streams: where reading begins, at which pace, and what is refused before it begins."""

from __future__ import annotations

import json

import pytest
import websockets

from router.broker import Broker
from router.event import Event
from tests.edge.conftest import UNHURRIED, RunningEdge


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ("cursor=nope", "bad_cursor", None),
        ("last=1&cursor=now", "bad_cursor", None),
        ("max_rate=0", "bad_parameter", "max_rate"),
        ("max_rate=fast", "bad_parameter", "max_rate"),
        ("conflate=perhaps", "bad_parameter", "conflate"),
    ],
)
async def test_a_bad_query_is_refused_alike_by_a_response_and_in_a_socket(
    edge: RunningEdge, query: str, code: str, field: str | None
) -> None:
    session = await edge.session()

    answer = await edge.http.get(f"/callbacks/sessions/{session}/sse?{query}")
    async with websockets.connect(
        f"ws://127.0.0.1:{edge.port}/callbacks/sessions/{session}/ws?{query}", **UNHURRIED
    ) as socket:
        told = json.loads(await socket.recv())

    assert (answer.status_code, answer.json()["code"], answer.json().get("field")) == (400, code, field)
    assert (told["control"], told["code"]) == ("error", code)


@pytest.mark.parametrize(("query", "field"), [("limit=0", "limit"), ("wait=51", "wait"), ("wait=nan", "wait")])
async def test_a_poll_out_of_bounds_is_refused_by_name(edge: RunningEdge, query: str, field: str) -> None:
    answer = await edge.http.get(f"/callbacks/sessions/{await edge.session()}/events?{query}")

    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, "bad_parameter", field)


async def test_what_a_page_sends_before_it_has_a_value_begins_where_the_session_does(
    edge: RunningEdge, entity: str
) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    await edge.numbers(entity, 2)

    answer = await edge.http.get(f"/callbacks/sessions/{session}/events?cursor=undefined&since=null&last=")

    assert [event["data"]["n"] for event in answer.json()["events"]] == [0, 1]


@pytest.mark.parametrize(
    ("offered", "answered"),
    [
        (["callboard.v1"], "callboard.v1"),
        (["mqtt", "callboard.v1"], "callboard.v1"),
        (["callboard.v1", "bearer.abc"], "callboard.v1"),
        (["mqtt"], None),
        (None, None),
    ],
)
async def test_a_subprotocol_is_answered_where_it_is_ours(
    either: RunningEdge, store: Broker, entity: str, offered: list[str] | None, answered: str | None
) -> None:
    await store.publish(Event.new(f"camera.{entity}.state", {"status": "streaming"}))
    session = await either.session()

    for path in (f"callbacks/sessions/{session}/ws", f"cameras/{entity}/ws"):
        async with websockets.connect(
            f"ws://127.0.0.1:{either.port}/{path}", subprotocols=offered, **UNHURRIED
        ) as socket:  # type: ignore[arg-type]
            assert socket.subprotocol == answered
