"""The addresses of the agent-run guide: a run streams from its beginning, goes on where its client was, and ends."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.edge.auth.conftest import SecuredFactory
from tests.edge.conftest import RunningEdge
from tests.edge.surfaces.conftest import Worker, streaming


async def publish(edge: RunningEdge, run: str, *events: tuple[str, dict[str, Any]]) -> list[str]:
    return await edge.publish(*({"subject": f"agent.{run}.{kind}", "data": data} for kind, data in events))


def told(said: bytes) -> list[tuple[str, Any]]:
    """Type and content of the events of a stream."""
    found = [json.loads(line[6:]) for line in said.decode().split("\n") if line.startswith('data: {"type"')]
    return [(each["type"], each["content"]) for each in found]


BEGUN = [("workflow_start", {"name": "chat"}), ("token", {"content": "Hel"}), ("token", {"content": "lo"})]
END = ("completion", {"success": True})


async def test_a_stream_has_the_guide_s_head_and_bytes_and_ends_with_its_run(either: RunningEdge, entity: str) -> None:
    await publish(either, entity, *BEGUN)

    async with streaming(either, f"/agent-run/{entity}/stream") as stream:
        await stream.until(b'"lo"')
        await publish(either, entity, END)
        said = await stream.rest()

    head = {
        name: value
        for name, value in stream.answer.headers.items()
        if name in ("content-type", "cache-control", "x-accel-buffering")
    }
    assert head == {
        "content-type": "text/event-stream", "cache-control": "no-cache, no-transform", "x-accel-buffering": "no",
    }  # fmt: skip
    assert stream.answer.headers.get_list("connection") == ["keep-alive"]
    masked = re.sub(rb'"ts":\d+', b'"ts":0', re.sub(rb"id: [^\n]+", b"id: 0", said))
    thread = entity.encode()
    assert masked == b"event: open\ndata: {}\n\n" + b"".join(
        b'data: {"type":"%b","threadId":"%b","content":%b,"ts":0}\nid: 0\n\n' % (kind, thread, content)
        for kind, content in (
            (b"status", b'"processing"'), (b"token", b'"Hel"'), (b"token", b'"lo"'),
            (b"done", b'{"status":"completed","success":true}'),
        )
    ) + b"event: close\ndata: {}\n\n"  # fmt: skip


async def test_a_client_goes_on_where_it_was_and_stays_away_behind_the_end(either: RunningEdge, entity: str) -> None:
    cursors = await publish(either, entity, *BEGUN, END)
    path = f"/agent-run/{entity}/stream"

    async with streaming(either, path, last=cursors[1]) as stream:
        behind = await stream.rest()
    async with streaming(either, f"{path}?cursor={cursors[2]}") as stream:
        last = await stream.rest()
    async with streaming(either, path, last="never-ours") as stream:
        again = await stream.rest()
    over = await either.http.get(path, headers={"Last-Event-ID": cursors[3]})

    done = ("done", {"status": "completed", "success": True})
    assert told(behind) == [("token", "lo"), done]
    assert told(last) == [done]
    assert b"event: gap" in again and told(again)[0] == ("status", "processing")
    assert over.status_code == 204


async def test_a_run_that_is_begun_anew_is_streamed_from_its_last_beginning(edge: RunningEdge, entity: str) -> None:
    await publish(edge, entity, *BEGUN, END)
    await publish(edge, entity, ("workflow_start", {"incarnation": "b"}), ("token", {"content": "new"}))
    await publish(
        edge, entity, ("workflow_start", {"incarnation": "c", "resumed": True}), ("token", {"content": "er"}), END
    )

    async with streaming(edge, f"/agent-run/{entity}/stream") as stream:
        said = told(await stream.rest())

    assert [content for _, content in said[:4]] == ["processing", "new", "processing", "er"]
    assert [kind for kind, _ in said].count("done") == 1


async def test_a_thread_that_nobody_began_is_streamed_answer_by_answer(edge: RunningEdge, entity: str) -> None:
    async def answer(*events: tuple[str, dict[str, Any]]) -> None:
        await edge.publish(*({"subject": f"thread.{entity}.{kind}", "data": data} for kind, data in events))

    await answer(("token", {"content": "one"}), ("done", {"content": "one"}))
    await answer(("token", {"content": "two"}), ("done", {"content": "two"}))
    async with streaming(edge, f"/agent-run/{entity}/stream") as stream:
        over = told(await stream.rest())
    await answer(("token", {"content": "three"}))
    async with streaming(edge, f"/agent-run/{entity}/stream") as stream:
        going = told(await stream.until(b"three"))

    assert over == [("token", "two"), ("done", "two")]
    assert going == [("token", "three")]


async def test_a_run_is_read_and_one_that_is_unknown_is_a_problem(edge: RunningEdge, entity: str) -> None:
    await publish(edge, entity, *BEGUN)
    going = (await edge.http.get(f"/agent-run/{entity}")).json()
    await publish(edge, entity, ("completion", {"success": False, "error": "no key"}))
    failed = (await edge.http.get(f"/agent-run/{entity}")).json()
    unknown = [
        await edge.http.request(method, f"/agent-run/{path}")
        for method, path in (("GET", "nope"), ("GET", "nope/stream"), ("POST", "nope/stop"))
    ]
    over = await edge.http.post(f"/agent-run/{entity}/stop")

    assert (going["id"], going["threadId"], going["status"], going["completedAt"]) == (entity, entity, "running", None)
    assert (failed["status"], failed["error"], failed["startedAt"]) == ("failed", "no key", going["startedAt"])
    assert [(answer.status_code, answer.json()["code"]) for answer in unknown] == [(404, "run_not_found")] * 3
    assert (over.status_code, over.json()["code"]) == (409, "run_over")


async def test_an_agent_is_started_on_a_thread_and_each_turn_has_its_stream(
    edge: RunningEdge, entity: str, worker: Worker
) -> None:
    start = f"/thread/{entity}/agent/start"
    first = (await edge.http.post(start, json={"agent": worker.name, "message": "hi"})).json()
    await worker.emit("thread", entity, "token", content="one")
    await worker.emit("thread", entity, "done", content="one")
    second = (await edge.http.post(start, json={"agent": worker.name})).json()
    await worker.emit("thread", entity, "token", content="two")

    async with streaming(edge, f"/agent-run/{first['agent_run_id']}/stream") as stream:
        old = told(await stream.rest())
    async with streaming(edge, f"/agent-run/{second['agent_run_id']}/stream") as stream:
        now = told(await stream.until(b"two"))
    runs = (await edge.http.get(f"/thread/{entity}/agent-runs")).json()["agent_runs"]
    thread = (await edge.http.get(f"/thread/{entity}")).json()

    assert worker.asked[0]["input"] == {"message": "hi"}
    assert old == [("status", "processing"), ("token", "one"), ("done", "one")]
    assert now == [("status", "processing"), ("token", "two")]
    assert [(run["id"], run["status"]) for run in runs] == [
        (second["agent_run_id"], "running"), (first["agent_run_id"], "completed")
    ]  # fmt: skip
    assert (thread["status"], thread["agent_run_id"]) == ("running", second["agent_run_id"])


async def test_a_turn_that_is_resumed_is_one_turn(edge: RunningEdge, entity: str, worker: Worker) -> None:
    async def emit(kind: str, **data: Any) -> None:
        await worker.emit("thread", entity, kind, **data)

    await emit("workflow_start", incarnation="a")
    await emit("token", content="one")
    await emit("completion", success=False, synthesized=True, error="lease", incarnation="a")
    await emit("workflow_start", incarnation="b", resumed=True)
    await emit("token", content="two")
    going = (await edge.http.get(f"/thread/{entity}/agent-runs")).json()["agent_runs"]
    await emit("done", content="all", incarnation="b")
    async with streaming(edge, f"/agent-run/{entity}:a/stream") as stream:
        said = told(await stream.rest())

    assert [(run["id"], run["status"]) for run in going] == [(f"{entity}:a", "running")]
    assert said == [
        ("status", "processing"),
        ("token", "one"),
        ("status", "processing"),
        ("token", "two"),
        ("done", "all"),
    ]


async def test_an_agent_may_name_the_turn_itself(edge: RunningEdge, entity: str, worker: Worker) -> None:
    begun = await edge.http.post(f"/thread/{entity}/agent/start", json={"agent": worker.name, "own": True})
    read = (await edge.http.get(f"/agent-run/{begun.json()['agent_run_id']}")).json()

    assert begun.json()["agent_run_id"] == read["id"] == f"{entity}:of-its-own"
    assert read["status"] == "running"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"agent": "nobody-here"}, 503, "agent_unavailable"),
        ({"agent": "a.b"}, 400, "bad_parameter"),
        ({"agent": 1}, 422, "bad_body"),
        ({"busy": True}, 409, "busy"),
        ({"bad": True}, 422, "bad_input"),
        ({"full": True}, 503, "agent_unavailable"),
        ({"broken": True}, 502, "command_failed"),
    ],
)
async def test_what_cannot_be_started_is_refused_with_a_reason(
    edge: RunningEdge, entity: str, worker: Worker, body: dict[str, Any], status: int, code: str
) -> None:
    answer = await edge.http.post(f"/thread/{entity}/agent/start", json={"agent": worker.name, **body})

    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_run_is_read_by_who_may_and_by_ticket(secured: SecuredFactory, entity: str) -> None:
    async with secured() as edge:
        writer = edge.as_("writer", publish=["agent.>"], read=["agent.>"])
        reader, stranger = edge.as_("reader", read=[f"agent.{entity}.>"]), edge.as_("stranger", read=["camera.>"])
        await publish(writer, entity, *BEGUN, END)
        path = f"/agent-run/{entity}/stream"

        assert (await edge.http.get(path)).json()["code"] == "token_required"
        assert (await edge.http.get(f"{path}?token={reader.token}")).json()["code"] == "token_in_query"
        assert (await stranger.http.get(path)).json()["code"] == "not_granted"
        ticket = (await reader.http.post("/tickets", json={"path": path})).json()["ticket"]
        other = await edge.http.get(f"/agent-run/{entity}x/stream?ticket={ticket}")
        opened = await edge.http.get(f"{path}?ticket={ticket}")

    assert opened.status_code == 200 and b"event: close" in opened.content
    assert f"Path={path};" in opened.headers["set-cookie"]
    assert other.json()["code"] == "bad_ticket"


async def test_a_stop_says_that_it_was_asked_for_and_the_stream_that_it_has_come(
    edge: RunningEdge, entity: str
) -> None:
    await publish(edge, entity, *BEGUN)
    lease = {"domain": "agent", "ttl": 60}
    assert (await edge.http.post(f"/runs/{entity}/lease", json=lease)).status_code == 200

    async with streaming(edge, f"/agent-run/{entity}/stream") as stream:
        answer = await edge.http.post(f"/agent-run/{entity}/stop")
        assert (await edge.http.post(f"/runs/{entity}/lease", json=lease)).json()["stop"] is True
        await publish(edge, entity, ("completion", {"success": False, "status": "cancelled"}))
        said = await stream.rest()

    assert (answer.status_code, answer.json()["status"]) == (200, "stopping")
    assert b'"status":"cancelled"' in said and said.rstrip().endswith(b"event: close\ndata: {}")
