"""Tests of chat.py: a real chat server beside a real edge, read by all four delivery methods of the callback guide."""

# ruff: noqa: F811

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import websockets
from aiohttp import web

from ops.demo.answers import WHAT_IT_IS
from ops.demo.chat import ChatServer, ChatSettings, serve_chat
from tests.edge.conftest import UNHURRIED, RunningEdge, Sse, edge, edge_factory  # noqa: F401
from tests.waiting import PATIENCE, eventually

QUESTION = {"message": "How do webhooks work?", "conversation_id": "conv_123", "model": "any", "task_type": "question"}
DOCUMENTED = ["thinking", "tool_use", "progress", "completion"]


@pytest.fixture
async def chat(edge: RunningEdge) -> AsyncIterator[httpx.AsyncClient]:
    """The chat on a free port, and a client of it."""
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    settings = ChatSettings(edge.url, port=0, grace=1.0)
    async with asyncio.TaskGroup() as group:
        group.create_task(serve_chat(settings, ready.set_result, stop))
        async with httpx.AsyncClient(base_url=await ready, timeout=PATIENCE) as http:
            yield http
        stop.set()


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[str, list[tuple[dict[str, str], dict[str, Any]]]]]:
    """An application of one's own that receives callbacks."""
    posts: list[tuple[dict[str, str], dict[str, Any]]] = []

    async def receive(request: web.Request) -> web.Response:
        posts.append((dict(request.headers), json.loads(await request.text())))
        return web.json_response({"status": "received"})

    app = web.Application()
    app.router.add_post("/callbacks", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/callbacks", posts
    await runner.cleanup()


async def ask(chat: httpx.AsyncClient, **config: Any) -> dict[str, Any]:
    answer = await chat.post("/chat", json={**QUESTION, "callback_config": config})
    assert answer.status_code in (200, 202), answer.text
    return answer.json()


def assert_is_the_whole_answer(events: list[dict[str, Any]]) -> None:
    assert [event["event_type"] for event in events[:2]] == ["progress", "thinking"]
    assert set(DOCUMENTED) == {event["event_type"] for event in events}
    assert [e["data"]["tool_name"] for e in events if e["event_type"] == "tool_use"] == ["statistics", "search"]
    last = events[-1]
    assert last["event_type"] == "completion" and last["data"]["success"] is True
    assert last["data"]["result"]["sources"][0] == "Webhooks" and last["data"]["result"]["model"] == WHAT_IT_IS


async def test_a_websocket_gets_the_answer_as_it_is_made(chat: httpx.AsyncClient) -> None:
    told = await ask(chat, delivery_method="websocket", events=DOCUMENTED, timeout=30)

    assert told["conversation_id"] == "conv_123" and told["urls"]["ws"].startswith("ws://")
    events: list[dict[str, Any]] = []
    async with asyncio.timeout(PATIENCE), websockets.connect(told["urls"]["ws"], **UNHURRIED) as socket:
        while not events or events[-1]["event_type"] != "completion":
            said = json.loads(await socket.recv())
            events += [] if "control" in said else [said]
    assert_is_the_whole_answer(events)


async def test_server_sent_events_have_the_words_of_the_answer(chat: httpx.AsyncClient) -> None:
    told = await ask(chat, delivery_method="sse", include_intermediate_results=True)

    events: list[dict[str, Any]] = []
    async with httpx.AsyncClient(timeout=PATIENCE) as http, http.stream("GET", told["urls"]["sse"]) as answer:
        reader = Sse(answer)
        while not events or events[-1]["event_type"] != "completion":
            events += await reader.events(1)
    text = "".join(event["data"]["content"] for event in events if event["event_type"] == "streaming_chunk")
    assert text == events[-1]["data"]["result"]["response"] and events[0]["event_type"] == "workflow_start"
    assert {event["subject"].split(".")[1] for event in events} == {told["run"]}


async def test_who_polls_late_still_gets_all_of_it_and_then_the_session_is_gone(
    chat: httpx.AsyncClient,
    edge: RunningEdge,
) -> None:
    told = await ask(chat, delivery_method="polling", events=DOCUMENTED)

    async with httpx.AsyncClient(timeout=PATIENCE) as http:

        async def whole() -> list[dict[str, Any]]:
            events = (await http.get(told["urls"]["events"], params={"cursor": "earliest"})).json()["events"]
            return events if events and events[-1]["event_type"] == "completion" else []

        assert_is_the_whole_answer(await eventually(whole))

    async def gone() -> bool:
        return (await edge.http.get(f"/callbacks/sessions/{told['session_id']}")).status_code == 404

    await eventually(gone)


async def test_a_webhook_is_posted_to_with_its_headers_and_removed_behind_the_last_post(
    chat: httpx.AsyncClient,
    edge: RunningEdge,
    receiver: tuple[str, list[tuple[dict[str, str], dict[str, Any]]]],
) -> None:
    url, posts = receiver
    headers = {"Authorization": "Bearer your-token", "X-Source": "OpenManus-Chat"}

    told = await ask(
        chat, delivery_method="webhook", webhook_url=url, events=DOCUMENTED, include_intermediate_results=True,
        timeout=30, retry_attempts=3, headers=headers,
    )  # fmt: skip

    assert told["response"].startswith("Your message has 4 words") and "urls" not in told
    await eventually(lambda: "completion" in {body["event_type"] for _, body in posts})
    assert all(sent["X-Source"] == "OpenManus-Chat" for sent, _ in posts)
    assert {body["event_type"] for _, body in posts} <= set(DOCUMENTED)

    async def gone() -> bool:
        return (await edge.http.get(f"/callbacks/sessions/{told['session_id']}")).status_code == 404

    await eventually(gone)


async def test_without_a_callback_config_the_answer_is_the_answer(chat: httpx.AsyncClient, edge: RunningEdge) -> None:
    before = (await edge.http.get("/callbacks/sessions")).json()["total"]

    answer = await chat.post("/chat", json=QUESTION)

    assert answer.json()["sources"][0] == "Webhooks" and "session_id" not in answer.json()
    assert (await edge.http.get("/callbacks/sessions")).json()["total"] == before


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"delivery_method": "pigeon"}, "delivery_method"),
        ({"delivery_method": "webhook"}, "webhook_url"),
        ({"delivery_method": "webhook", "webhook_url": "ftp://x"}, "webhook_url"),
        ({"events": ["No Type"]}, "events"),
        ({"subjects": [">"]}, "subjects"),
        ({"evnts": []}, "evnts"),
    ],
)
async def test_a_bad_config_is_refused_with_its_field(
    chat: httpx.AsyncClient, config: dict[str, Any], field: str
) -> None:
    answer = await chat.post("/chat", json={**QUESTION, "callback_config": config})

    assert 400 <= answer.status_code < 500 and answer.headers["content-type"] == "application/problem+json"
    assert field in answer.json().get("field", "") or field in answer.json()["detail"], answer.text


async def test_what_is_no_chat_request_is_refused(chat: httpx.AsyncClient) -> None:
    for body in (b"no json", b"[]", b"{}", b'{"message": 3}', b'{"message": "x", "callback_config": 3}'):
        answer = await chat.post("/chat", content=body)
        assert answer.status_code == 422, answer.text
    assert WHAT_IT_IS in (await chat.get("/")).text


async def test_many_callers_get_their_own_answers_only(chat: httpx.AsyncClient) -> None:
    async def one(number: int) -> tuple[str, list[dict[str, Any]]]:
        told = await ask(chat, delivery_method="polling", events=["completion"])
        async with httpx.AsyncClient(timeout=PATIENCE) as http:
            answer = await http.get(told["urls"]["events"], params={"cursor": "earliest", "wait": 20})
        return told["run"], answer.json()["events"]

    for run, events in await asyncio.gather(*map(one, range(8))):
        assert [event["subject"] for event in events] == [f"agent.{run}.completion"]


async def test_the_edge_that_is_away_is_said() -> None:
    server = ChatServer(ChatSettings("http://127.0.0.1:1"))
    runner = web.AppRunner(server.application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{runner.addresses[0][1]}", timeout=PATIENCE) as http:
        answer = await http.post("/chat", json={**QUESTION, "callback_config": {"delivery_method": "sse"}})
    await runner.cleanup()

    assert answer.status_code == 503 and answer.json()["code"] == "callbacks_unavailable"
