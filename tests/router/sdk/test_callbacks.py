"""Tests of callbacks.py: a request's callback_config becomes a session of a real edge that sees one run; `tests/ops/demo` reads them."""

# ruff: noqa: F811

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from router.broker import Broker
from router.sdk import RunSettings
from router.sdk.callbacks import BadCallbackConfig, Callbacks, CallbacksUnavailable, SyncCallbacks
from tests.edge.auth.conftest import SecuredFactory, secured, token  # noqa: F401
from tests.edge.conftest import UNHURRIED, RunningEdge, edge, edge_factory  # noqa: F401
from tests.edge.webhooks.stage import Receiver
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


async def test_the_session_of_a_webhook_ends_by_itself_once_its_run_is_over_and_posted(
    edge: RunningEdge, broker: Broker, entity: str
) -> None:
    async with Receiver().serving() as receiver:
        config = {"webhook_url": receiver.url, "events": ["completion"]}
        callbacks = await Callbacks.from_request(config, edge=edge.url, to=broker, run=entity, grace=0)
        assert (await session_of(edge, callbacks))["ttl"] == 86400

        async with callbacks:
            pass

        async def is_gone() -> bool:
            return await session_of(edge, callbacks) == {}

        await eventually(is_gone)
        assert [json.loads(post.body)["event_type"] for post in receiver.posts] == ["completion"]


async def test_the_session_of_a_run_whose_end_is_spooled_waits_for_it(
    edge: RunningEdge, entity: str, tmp_path: Path
) -> None:
    settings = RunSettings(spool_dir=tmp_path, drain=0.1, spool_after=0.01)
    callbacks = await Callbacks.from_request(
        {"delivery_method": "sse"}, edge=edge.url, to="nats://127.0.0.1:1", run=entity, settings=settings
    )

    async with callbacks as run:
        pass

    assert run.unsent and callbacks.cleaning is None and (await session_of(edge, callbacks))["ttl"] == 3600


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
