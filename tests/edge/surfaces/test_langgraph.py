"""LangGraph's runs API over the edge: runs are started, streamed, joined, waited for and cancelled, by its own clients too."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph.pregel.remote import RemoteException, RemoteGraph
from langgraph_sdk import get_client
from langgraph_sdk.errors import ConflictError

from edge.disconnect import SHUTDOWN
from tests.edge.auth.conftest import SecuredFactory
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.edge.surfaces.conftest import Worker, streaming
from tests.npm import Libraries
from tests.proxy import Cut, Proxy
from tests.waiting import PATIENCE, eventually

HERE = Path(__file__).parent

USER = {"role": "user", "content": "hi"}


def names(said: bytes) -> list[str]:
    return [line[7:] for line in said.decode().split("\n") if line.startswith("event: ")]


def last_id(said: bytes) -> str:
    return said.decode().rpartition("id: ")[2].partition("\n")[0].strip()


def body(worker: Worker, *modes: str, **more: Any) -> dict[str, Any]:
    return {"assistant_id": worker.name, "input": {"messages": [USER]}, "stream_mode": list(modes), **more}


async def test_a_run_is_streamed_cut_and_joined(either: RunningEdge, entity: str, worker: Worker) -> None:
    asked = body(worker, "values", "messages-tuple")
    async with streaming(either, f"/threads/{entity}/runs/stream", method="POST", json=asked) as one:
        await worker.emit("thread", entity, "token", content="Hel")
        seen = await one.until(b"Hel")
        run = one.answer.headers["content-location"]
        again = one.answer.headers["location"]
    async with streaming(either, again, last_id(seen)) as two, streaming(either, f"{run}/stream", "-1") as whole:
        await worker.emit("thread", entity, "token", content="lo")
        await worker.emit("thread", entity, "completion", success=True)
        rest, all = await two.rest(), await whole.rest()
    behind = await either.http.get(again, headers={"Last-Event-ID": last_id(rest)})

    assert (
        run.startswith(f"/threads/{entity}/runs/")
        and again == f"{run}/stream?stream_mode=values&stream_mode=messages-tuple"
    )
    assert names(seen) == ["metadata", "values", "messages"]
    assert names(rest) == ["messages", "values", "end"]
    assert names(all) == ["metadata", "values", "messages", "messages", "updates", "values", "end"]
    assert (behind.status_code, behind.content, behind.headers["content-type"]) == (
        200,
        b"",
        "text/event-stream; charset=utf-8",
    )
    messages = json.loads(rest.decode().split("event: values\ndata: ")[1].split("\n")[0])["messages"]
    assert [(message["type"], message["content"]) for message in messages] == [("human", "hi"), ("ai", "Hello")]
    assert (await either.http.get(run)).json()["status"] == "success"


async def test_the_next_run_of_a_thread_is_given_what_was_said_before(
    edge: RunningEdge, entity: str, worker: Worker
) -> None:
    path = f"/threads/{entity}/runs"
    first = (await edge.http.post(path, json=body(worker))).json()
    await worker.emit("thread", entity, "token", content="Hello")
    await worker.emit("thread", entity, "completion", success=True)
    again = {"messages": [{**USER, "id": "u2"}], "topic": "tea"}
    asked = body(worker, "values", input=again, config={"tags": ["x"]})
    async with streaming(edge, f"{path}/stream", method="POST", json=asked) as second:
        await second.until(b"u2")
        await worker.emit("thread", entity, "completion", success=True, result="Bye")
        said = await second.rest()
    runs = (await edge.http.get(path)).json()

    given: Any = worker.asked[1]["input"]
    assert [(message["role"], message["content"]) for message in given["messages"]] == [
        ("user", "hi"), ("assistant", "Hello"), ("user", "hi"),
    ]  # fmt: skip
    assert (given["topic"], given["config"]) == ("tea", {"tags": ["x"]})
    values = [json.loads(part.split("\n")[0])["messages"] for part in said.decode().split("event: values\ndata: ")[1:]]
    assert [message["content"] for message in values[-1]] == ["hi", "Hello", "hi", "Bye"]
    assert [message["content"] for message in values[0]] == ["hi", "Hello", "hi"]
    assert [run["status"] for run in runs] == ["success", "success"]
    assert runs[1]["run_id"] == first["run_id"] and first["thread_id"] == entity


async def test_a_run_is_waited_for_with_its_values_or_its_error(edge: RunningEdge, entity: str, worker: Worker) -> None:
    waiting = asyncio.ensure_future(edge.http.post(f"/threads/{entity}/runs/wait", json=body(worker)))
    await eventually(lambda: worker.asked)
    await worker.emit("thread", entity, "completion", success=True, result={"rows": 5})
    good = (await waiting).json()
    run = (await edge.http.post(f"/threads/{entity}/runs", json=body(worker))).json()["run_id"]
    joining = asyncio.ensure_future(edge.http.get(f"/threads/{entity}/runs/{run}/join"))
    await worker.emit("thread", entity, "completion", success=False, error="no key", error_type="KeyError")
    bad = (await joining).json()

    assert good["result"] == {"rows": 5} and len(good["messages"]) == 1
    assert bad["__error__"] == {"error": "KeyError", "message": "no key"}
    assert (await edge.http.get(f"/threads/{entity}/runs/{run}")).json()["status"] == "error"


async def test_a_run_of_a_busy_thread_is_refused_stops_the_other_or_waits(
    edge: RunningEdge, entity: str, worker: Worker, stopping: list[str]
) -> None:
    path = f"/threads/{entity}/runs"
    await edge.http.post(path, json=body(worker))
    refused = await edge.http.post(path, json=body(worker, multitask_strategy="reject"))
    nobody = await edge.http.post(
        path, json=body(worker, multitask_strategy="interrupt") | {"assistant_id": "nobody-here"}
    )
    assert (nobody.json()["code"], stopping) == ("agent_unavailable", [])
    rolled = await edge.http.post(path, json=body(worker, multitask_strategy="rollback"))
    waiting = asyncio.ensure_future(edge.http.post(path, json=body(worker)))
    await worker.emit("thread", entity, "completion", success=True)
    second = (await waiting).json()
    third = asyncio.ensure_future(edge.http.post(path, json=body(worker, multitask_strategy="interrupt")))
    await eventually(lambda: stopping)
    await worker.emit("thread", entity, "completion", status="cancelled")
    interrupting = (await third).json()
    runs = (await edge.http.get(path)).json()

    assert (refused.status_code, refused.json()["code"]) == (409, "busy")
    assert (rolled.status_code, rolled.json()["field"]) == (422, "multitask_strategy")
    assert stopping == [entity]
    assert [run["run_id"] for run in runs[:2]] == [interrupting["run_id"], second["run_id"]]
    assert [run["status"] for run in runs] == ["running", "interrupted", "success"]
    assert len(worker.asked) == 3


async def test_a_run_is_cancelled_and_one_that_is_over_is_not(
    edge: RunningEdge, entity: str, worker: Worker, stopping: list[str]
) -> None:
    run = (await edge.http.post(f"/threads/{entity}/runs", json=body(worker))).json()["run_id"]
    path = f"/threads/{entity}/runs/{run}"
    asked = await edge.http.post(f"{path}/cancel")
    waiting = asyncio.ensure_future(edge.http.post(f"{path}/cancel?wait=1&action=interrupt"))
    await eventually(lambda: len(stopping) == 2)
    await worker.emit("thread", entity, "completion", status="cancelled")
    waited = await waiting
    over = await edge.http.post(f"{path}/cancel")
    unknown = await edge.http.post(f"/threads/{entity}/runs/nope/cancel")

    assert (asked.status_code, asked.content, waited.status_code) == (202, b"", 202)
    assert (over.status_code, over.json()["code"]) == (409, "run_over")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "run_not_found")
    assert (await edge.http.get(path)).json()["status"] == "interrupted"


@pytest.mark.parametrize("cancels", [True, False])
async def test_a_run_stops_with_its_viewer_only_where_that_is_asked_for(
    either: RunningEdge, entity: str, worker: Worker, stopping: list[str], cancels: bool
) -> None:
    asked = body(worker, "values", on_disconnect="cancel" if cancels else "continue")
    async with streaming(either, f"/threads/{entity}/runs/stream", method="POST", json=asked) as stream:
        await stream.until(b"metadata")
        run = stream.answer.headers["content-location"]
    if cancels:
        await eventually(lambda: stopping)
    async with streaming(either, f"{run}/stream") as stream:
        await worker.emit("thread", entity, "completion", success=True)
        await stream.rest()

    assert stopping == ([entity] if cancels else [])


async def test_who_may_only_read_a_thread_joins_its_runs_and_starts_and_cancels_none(
    secured: SecuredFactory, entity: str, worker: Worker, stopping: list[str]
) -> None:
    path, start = f"/threads/{entity}/runs", f"{worker.name}.main.start"
    async with secured() as edge:
        owner = edge.as_("owner", read=[f"thread.{entity}.>"], command=[start, "agent.main.stop"])
        reader = edge.as_("reader", read=[f"thread.{entity}.>"])
        other = edge.as_("other", read=["thread.other.>"], command=[start])
        run = (await owner.http.post(path, json=body(worker))).json()["run_id"]
        refused = [
            await reader.http.post(path, json=body(worker)),
            await reader.http.post(f"{path}/{run}/cancel"),
            await other.http.post(f"{path}/stream", json=body(worker)),
            await other.http.post("/runs/stream", json=body(worker)),
            await other.http.get(f"{path}/{run}/join"),
        ]
        async with streaming(reader, f"{path}/{run}/stream") as stream:
            await stream.until(b"metadata")
            cancelled = await owner.http.post(f"{path}/{run}/cancel")
            await worker.emit("thread", entity, "completion", status="cancelled")
            said = await stream.rest()

    assert [(answer.status_code, answer.json()["code"]) for answer in refused] == [(403, "not_granted")] * 5
    assert cancelled.status_code == 202 and names(said)[-1] == "end"
    assert len(worker.asked) == 1


async def test_a_run_without_a_thread_has_one_of_its_own(edge: RunningEdge, worker: Worker) -> None:
    async with streaming(edge, "/runs/stream", method="POST", json=body(worker, "updates")) as stream:
        await eventually(lambda: worker.asked)
        thread = str(worker.asked[0]["run"])
        await worker.emit("thread", thread, "completion", success=True, result="x")
        said = await stream.rest()
    made = (await edge.http.post("/runs", json=body(worker))).json()

    assert names(said) == ["metadata", "updates", "end"]
    assert stream.answer.headers["content-location"].startswith(f"/threads/{thread}/runs/")
    assert made["status"] == "running" and len({made["thread_id"], thread}) == 2


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"assistant_id": "nobody-here"}, 503, "agent_unavailable"),
        ({"assistant_id": None}, 422, "bad_body"),
        ({"webhook": "http://x"}, 422, "bad_body"),
        ({"after_seconds": 5}, 422, "bad_body"),
        ({"interrupt_before": ["a"]}, 422, "bad_body"),
        ({"input": {"messages": [{"role": "user", "content": "x"}] * 101}}, 422, "bad_body"),
    ],
)
async def test_what_cannot_be_run_is_refused(
    edge: RunningEdge, entity: str, worker: Worker, change: dict[str, Any], status: int, code: str
) -> None:
    answer = await edge.http.post(f"/threads/{entity}/runs/stream", json=body(worker) | change)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert worker.asked == [] and (await edge.http.get(f"/threads/{entity}/runs")).json() == []


@pytest.mark.slow
async def test_its_own_client_is_cut_joins_and_cancels(
    edge: RunningEdge, entity: str, worker: Worker, stopping: list[str], libraries: Libraries
) -> None:
    script = libraries.script(HERE / "graph.mjs")
    async with Proxy(edge.port) as proxy:
        process = await asyncio.create_subprocess_exec(
            libraries.node, script, proxy.url, entity, worker.name,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        await eventually(lambda: worker.asked or process.returncode is not None)
        await worker.emit("thread", entity, "token", content="Grüß")
        assert await process.stdout.readline() == b"seen\n", (await process.stderr.read()).decode()
        proxy.sever()
        await worker.emit("thread", entity, "token", content=" Gott")
        await worker.emit("thread", entity, "tool_use", tool_name="search", parameters={"q": "x"})
        await worker.emit("thread", entity, "tool_result", tool_name="search", result=[1])
        await worker.emit("thread", entity, "progress", progress=0.5)
        await worker.emit("thread", entity, "completion", success=True)
        await eventually(lambda: stopping or process.returncode is not None)
        await worker.emit("thread", entity, "completion", status="cancelled")
        await eventually(lambda: len(worker.asked) == 3 or process.returncode is not None)
        await worker.emit("thread", entity, "completion", success=False, error="no key", error_type="KeyError")
        out, errors = await process.communicate()

    assert process.returncode == 0, errors.decode()
    said = json.loads(out)
    assert [each["assistant_id"] for each in said["assistants"]] == [worker.name]
    assert (said["named"]["thread_id"], said["created"]["thread_id"]) == (entity, entity)
    assert [part["event"] for part in said["parts"]] == [
        "metadata", "values", "messages", "messages", "messages", "messages", "values", "custom", "values", "end",
    ]  # fmt: skip
    assert said["last"]["joined"] == said["last"]["tail"] and said["last"]["again"] == []
    messages = said["state"]["values"]["messages"]
    assert [(message["type"], message["content"]) for message in messages] == [
        ("human", "hi"), ("ai", "Grüß Gott"), ("tool", "[1]"),
    ]  # fmt: skip
    assert messages == said["parts"][-2]["data"]["messages"] and said["history"] == [said["state"]]
    assert said["got"]["status"] == "success" and said["second"]["status"] == "running"
    assert [run["status"] for run in said["list"]] == ["interrupted", "success"]
    assert len(said["values"]["messages"]) == 4
    assert (said["failure"], said["refusal"]) == ("KeyError: no key", 409)


async def test_its_python_client_is_cut_joins_and_cancels(
    edge: RunningEdge, entity: str, worker: Worker, stopping: list[str]
) -> None:
    parts: list[Any] = []
    run: list[dict[str, str]] = []
    async with Proxy(edge.port) as proxy, get_client(url=proxy.url, api_key=None) as client:
        thread = (await client.threads.create(thread_id=entity))["thread_id"]

        async def stream() -> None:
            async for part in client.runs.stream(
                thread, worker.name, input={"messages": [USER]}, stream_mode=["values", "messages-tuple"],
                on_run_created=run.append,
            ):  # fmt: skip
                parts.append(part)  # noqa: PERF401 - one by one, since the test looks at them meanwhile

        streaming = asyncio.ensure_future(stream())
        await eventually(lambda: run)
        await worker.emit("thread", entity, "token", content="Grüß")
        await eventually(lambda: [part for part in parts if part.event == "messages"])
        proxy.sever()
        await worker.emit("thread", entity, "token", content=" Gott")
        await worker.emit("thread", entity, "completion", success=True)
        await streaming
        at = next(place for place, part in enumerate(parts) if part.event == "messages")
        joined = [part async for part in client.runs.join_stream(
            thread, run[0]["run_id"], last_event_id=parts[at].id, stream_mode=["values", "messages-tuple"]
        )]  # fmt: skip
        state = await client.threads.get_state(thread)
        second = await client.runs.create(thread, worker.name, input={"messages": [USER]})
        cancelling = asyncio.ensure_future(client.runs.cancel(thread, second["run_id"], wait=True))
        await eventually(lambda: stopping)
        await worker.emit("thread", entity, "completion", status="cancelled")
        await cancelling
        over = await client.runs.get(thread, second["run_id"])
        with pytest.raises(ConflictError, match="is cancelled") as refused:
            await client.runs.cancel(thread, second["run_id"])
        values = await client.runs.join(thread, run[0]["run_id"])

    assert [part.event for part in parts] == ["metadata", "values", "messages", "messages", "values", "end"]
    assert joined == parts[at + 1 :]
    assert [message["content"] for message in state["values"]["messages"]] == ["hi", "Grüß Gott"]
    assert values == state["values"] and over["status"] == "interrupted"
    assert refused.value.code == "run_over"


@pytest.mark.slow
async def test_its_python_client_has_every_word_once_over_a_wire_that_breaks_at_random_bytes(
    edge: RunningEdge, entity: str, worker: Worker
) -> None:
    seed = random.SystemRandom().randrange(2**32)
    rng = random.Random(seed)
    # A client whose first answer is cut before its head has no address to come back to.
    least = iter((3000,))

    def cut() -> Cut:
        return Cut(rng.randrange(next(least, 1), 12_000), reset=rng.random() < 0.5)

    words = [f"word{n} " for n in range(200)]
    async with Proxy(edge.port, cut=cut) as proxy, get_client(url=proxy.url, api_key=None) as client:

        async def read() -> list[Any]:
            stream = client.runs.stream(
                entity, worker.name, input={"messages": [USER]}, stream_mode=["messages-tuple", "values"]
            )
            return [part async for part in stream]

        reading = asyncio.ensure_future(read())
        await eventually(lambda: worker.asked)
        for word in words:
            await worker.emit("thread", entity, "token", content=word)
        await worker.emit("thread", entity, "completion", success=True)
        await eventually(lambda: proxy.cuts > 5 or reading.done())
        proxy.cut = None
        parts = await reading

    assert [part.data[0]["content"] for part in parts if part.event == "messages"] == words, f"seed {seed}"
    assert [part.event for part in parts if part.event != "messages"] == ["metadata", "values", "values", "end"]
    assert parts[-2].data["messages"][-1]["content"] == "".join(words)
    assert proxy.cuts > 3


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "plain"])
async def test_a_stream_whose_server_leaves_before_the_end_is_cut_off(
    edge_factory: EdgeFactory, entity: str, worker: Worker, lane: bool
) -> None:
    # Its clients take a stream that ended for a run that did.
    async with edge_factory(lane=lane) as edge, httpx.AsyncClient(base_url=edge.url, timeout=PATIENCE) as http:
        request = http.build_request("POST", f"/threads/{entity}/runs/stream", json=body(worker, "values"))
        answer = await http.send(request, stream=True)
        assert edge.edge is not None
        for reader in tuple(edge.edge.hub.readers):
            reader.close(SHUTDOWN)
        with pytest.raises(httpx.TransportError):
            await answer.aread()
        await answer.aclose()


async def test_a_remote_graph_is_an_agent(edge: RunningEdge, entity: str, worker: Worker) -> None:
    config: Any = {"configurable": {"thread_id": entity}}
    async with get_client(url=edge.url, api_key=None) as client:
        remote = RemoteGraph(worker.name, client=client)
        invoking = asyncio.ensure_future(remote.ainvoke({"messages": [USER]}, config))
        await eventually(lambda: worker.asked)
        await worker.emit("thread", entity, "completion", success=True, result="Hello")
        values = await invoking
        state = await remote.aget_state(config)
        failing = asyncio.ensure_future(remote.ainvoke({"messages": [USER]}, config))
        await eventually(lambda: len(worker.asked) == 2)
        await worker.emit("thread", entity, "completion", success=False, error="no key")
        with pytest.raises(RemoteException, match="no key"):
            await failing
        graph = await remote.aget_graph()

    assert [message["content"] for message in values["messages"]] == ["hi", "Hello"]
    assert state.values == values
    assert set(graph.nodes) == {"__start__", "agent", "tools", "__end__"}


async def test_runs_that_wait_for_the_same_end_follow_one_another(
    edge: RunningEdge, entity: str, worker: Worker
) -> None:
    path, worker.single = f"/threads/{entity}/runs", True
    await edge.http.post(path, json=body(worker))
    waiting = [asyncio.ensure_future(edge.http.post(path, json=body(worker))) for _ in range(2)]
    for ended in range(1, 4):
        runs = await eventually(lambda: begun(edge, path, ended))
        assert [run["status"] for run in runs] == ["running", *["success"] * (ended - 1)]
        await worker.emit("thread", entity, "completion", success=True)

    assert len({(await each).json()["run_id"] for each in waiting}) == 2


async def begun(edge: RunningEdge, path: str, count: int) -> list[dict[str, Any]]:
    """The runs of a thread, once there are so many."""
    runs: list[dict[str, Any]] = (await edge.http.get(path)).json()
    return runs if len(runs) == count else []
