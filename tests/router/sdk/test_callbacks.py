"""Tests of callbacks.py: a request's callback_config becomes a session of a real edge that sees one run; `tests/ops/demo` reads them."""

# ruff: noqa: F811

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
import websockets

from router.broker import Broker
from router.sdk.callbacks import BadCallbackConfig, Callbacks, CallbacksUnavailable, SyncCallbacks
from tests.edge.auth.conftest import SecuredFactory, secured, token  # noqa: F401
from tests.edge.conftest import UNHURRIED, RunningEdge, edge, edge_factory  # noqa: F401
from tests.waiting import PATIENCE, eventually


async def session_of(edge: RunningEdge, callbacks: Callbacks) -> dict[str, Any]:
    answer = await edge.http.get(f"/callbacks/sessions/{callbacks.answer['session_id']}")
    return answer.json() if answer.status_code == 200 else {}


async def test_the_session_sees_its_run_only_from_the_first_event_to_the_last(
    edge: RunningEdge,
    broker: Broker,
    entity: str,
) -> None:
    config = {"delivery_method": "polling", "events": ["thinking", "completion"]}
    callbacks = await Callbacks.from_request(config, edge=edge.url, to=broker, run=entity)
    await edge.publish({"subject": f"agent.{entity}-other.thinking", "data": {"thought": "not for it"}})

    async with callbacks as run:
        await run.thinking("a")
        await run.complete({"n": 1})

    session = await session_of(edge, callbacks)
    assert session["subjects"] == [f"agent.{entity}.>"]
    events = (await edge.poll(session["session_id"]))["events"]
    assert [event["event_type"] for event in events] == ["thinking", "completion"]


async def test_a_session_outlives_its_run_by_the_grace_and_expires_by_itself_where_the_program_dies(
    edge: RunningEdge,
    broker: Broker,
) -> None:
    callbacks = await Callbacks.from_request({"delivery_method": "sse"}, edge=edge.url, to=broker, grace=600)
    before = (await session_of(edge, callbacks))["ttl"]

    async with callbacks:
        pass
    assert callbacks.cleaning is not None
    await callbacks.cleaning

    after = (await session_of(edge, callbacks))["ttl"]
    assert before == 3600 and 600 <= after < before


async def test_a_caller_who_asked_for_nothing_gets_no_session(broker: Broker, entity: str) -> None:
    # Nor is an edge asked: this address has none.
    callbacks = await Callbacks.from_request(None, edge="http://127.0.0.1:1", to=broker, run=entity)

    async with callbacks as run:
        await run.thinking("alone")

    assert callbacks.answer == {} and callbacks.delivery_method is None and callbacks.cleaning is None


@pytest.mark.parametrize(
    ("config", "field", "code"),
    [
        ({"delivery_method": "pigeon"}, "delivery_method", None),
        ({"delivery_method": "webhook"}, "webhook_url", None),
        ({"subjects": [">"]}, "subjects", "bad_callback_config"),
        ({"timeout": -3, "webhook_url": "http://127.0.0.1:9/x"}, "timeout", None),
    ],
)
async def test_a_bad_config_names_its_field(
    edge: RunningEdge,
    broker: Broker,
    config: dict[str, Any],
    field: str,
    code: str | None,
) -> None:
    with pytest.raises(BadCallbackConfig) as refused:
        await Callbacks.from_request(config, edge=edge.url, to=broker)

    assert field in str(refused.value) and 400 <= refused.value.status < 500
    assert code in (None, refused.value.code) and refused.value.problem["code"] == refused.value.code


async def test_an_edge_that_is_away_is_not_the_callers_fault(broker: Broker) -> None:
    with pytest.raises(CallbacksUnavailable, match="does not answer"):
        await Callbacks.from_request({}, edge="http://127.0.0.1:1", to=broker)


async def test_where_the_edge_asks_for_tokens_the_callers_get_tickets_and_never_the_token(
    secured: SecuredFactory,
    broker: Broker,
    entity: str,
) -> None:
    mine = token("chat", 3600, read=["agent.>"])
    async with secured() as closed:
        with pytest.raises(CallbacksUnavailable, match="401"):
            await Callbacks.from_request({}, edge=closed.url, to=broker)
        callbacks = await Callbacks.from_request(
            {"delivery_method": "websocket"}, edge=closed.url, token=mine, to=broker, run=entity
        )
        async with callbacks as run:
            await run.thinking("seen by who has the ticket")

        assert mine not in str(callbacks.answer)
        async with websockets.connect(callbacks.answer["urls"]["ws"], **UNHURRIED) as socket:
            assert "ready" in str(await socket.recv())
        async with httpx.AsyncClient(timeout=PATIENCE) as http:
            bare = callbacks.answer["urls"]["events"].partition("?")[0]
            assert (await http.get(bare)).status_code == 401


async def test_a_webhook_whose_session_is_gone_already_is_no_trouble(
    edge: RunningEdge,
    broker: Broker,
) -> None:
    config = {"webhook_url": "http://127.0.0.1:9/never", "events": ["nothing"]}
    callbacks = await Callbacks.from_request(config, edge=edge.url, to=broker, grace=0.01)
    await edge.http.delete(f"/callbacks/sessions/{callbacks.answer['session_id']}")

    async with callbacks:
        pass

    assert callbacks.delivery_method == "webhook" and callbacks.cleaning is not None
    await eventually(callbacks.cleaning.done)


async def test_webhook_sessions_of_a_server_that_died_are_swept_once_their_run_is_over_for_long(
    edge: RunningEdge, broker: Broker, entity: str
) -> None:
    config = {"webhook_url": "http://127.0.0.1:9/never", "events": ["nothing"]}
    ended, going = [
        await Callbacks.from_request(config, edge=edge.url, to=broker, run=f"{entity}-{name}", grace=3600)
        for name in ("ended", "going")
    ]
    other = await edge.session(delivery_method="webhook", webhook_url="http://127.0.0.1:9/other")
    for status, callbacks in (("completed", ended), ("running", going)):
        state = {"run": callbacks.run_id, "domain": "agent", "status": status, "updated": "2026-01-01T00:00:00Z"}
        await edge.publish({"subject": f"agent.{callbacks.run_id}.state", "data": state})

    removed = await Callbacks.sweep(edge=edge.url)

    assert removed == 1 and await session_of(edge, ended) == {}
    assert await session_of(edge, going) and (await edge.http.get(f"/callbacks/sessions/{other}")).status_code == 200


async def test_a_server_without_asyncio_gives_its_callers_the_same(edge: RunningEdge, entity: str) -> None:
    def serve() -> SyncCallbacks:
        callbacks = SyncCallbacks.from_request({"delivery_method": "polling"}, edge=edge.url, run=entity, grace=600)
        with callbacks as run:
            run.thinking("as any other")
        assert callbacks.cleaning is not None
        callbacks.cleaning.join(PATIENCE)
        return callbacks

    callbacks = await asyncio.to_thread(serve)

    events = (await edge.poll(callbacks.answer["session_id"]))["events"]
    assert [event["event_type"] for event in events] == ["workflow_start", "thinking", "completion"]
    session = (await edge.http.get(f"/callbacks/sessions/{callbacks.answer['session_id']}")).json()
    assert callbacks.delivery_method == "polling" and 600 <= session["ttl"] < 3600
