"""Runs whose events are in several generations of streams: by every door read from their true start, on from each place, and ended."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from router.broker import Broker
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.edge.surfaces.conftest import streaming
from tests.router.resharding import SHORT, broker_of, reshard_soon

NEXT, CLOSED = "Stream-Next-Offset", "Stream-Closed"
START = ("workflow_start", {"incarnation": "one"})
END = ("completion", {"success": True, "incarnation": "one"})


class Stage:
    """An edge whose streams of events are changed while runs go on."""

    def __init__(self, edge: RunningEdge, broker: Broker) -> None:
        self.edge, self.broker = edge, broker

    async def say(self, run: str, *events: tuple[str, dict[str, Any]]) -> list[str]:
        """Publishes events of a run; returns their cursors."""
        return await self.edge.publish(*({"subject": f"{run}.{kind}", "data": data} for kind, data in events))

    async def fill(self) -> None:
        """Takes the sequences of the present streams far beyond those that the next streams will come to."""
        await self.edge.numbers("other", 50)

    async def reshard(self, shards: int) -> None:
        await reshard_soon(self.broker, shards)

    async def read(self, path: str, last: str | None = None) -> bytes:
        """All that a stream says to its end."""
        async with streaming(self.edge, path, last=last) as stream:
            return await stream.rest()


@pytest.fixture
async def stage(edge_factory: EdgeFactory, own_nats: str) -> AsyncIterator[Stage]:
    async with broker_of(own_nats) as broker, edge_factory(nats=own_nats, topology=SHORT) as edge:
        yield Stage(edge, broker)


def token(text: str) -> tuple[str, dict[str, Any]]:
    return "token", {"content": text, "incarnation": "one"}


def ids(said: bytes) -> list[str]:
    return re.findall(r"^id: ?(.+)$", said.decode(), re.MULTILINE)


def blocks(said: bytes) -> list[str]:
    """What a stream says, event by event, without ids and times."""
    masked = re.sub(r'"(ts|timestamp)":[^,}]+', "", re.sub(r"(?m)^id: ?.*\n", "", said.decode()))
    return [block for block in masked.split("\n\n") if "data:" in block and "data: {}" not in block]


async def test_open_streams_of_a_run_go_on_through_a_reshard_and_end_with_it(stage: Stage) -> None:
    await stage.fill()
    await stage.say("thread.t", START, token("Hel"))
    paths = (
        "/agent-run/t/stream", "/agent-run/t:one/stream", "/api/chat/t/stream", "/ag-ui/threads/t", "/threads/t/runs/one/stream",
        "/streams/runs/t:one?offset=-1&live=sse",
    )  # fmt: skip
    async with contextlib.AsyncExitStack() as opened:
        streams = [await opened.enter_async_context(streaming(stage.edge, path)) for path in paths]
        for stream in streams:
            await stream.until(b"Hel")
        await stage.reshard(3)
        await stage.say("thread.t", token("lo"), END)

        for path, stream in zip(paths, streams, strict=True):
            said = await stream.rest()
            assert said.count(b"Hel") >= 1 and b'lo"' in said, path


async def test_a_run_is_read_from_its_start_before_a_reshard_and_on_from_each_place(stage: Stage) -> None:
    await stage.fill()
    # An answer that is over before, and a run whose end a reader must not take for the next one's.
    await stage.say("thread.t", ("workflow_start", {"incarnation": "zero"}), token("old"), ("done", {"content": "old"}))
    (*old, _) = await stage.say("thread.t", START, token("Hel"), token("lo"))
    await stage.reshard(3)
    await stage.say("thread.t", token("wor"))
    await stage.reshard(2)
    _, end = await stage.say("thread.t", token("ld"), END)
    whole = {
        path: await stage.read(path) for path in ("/agent-run/t:one/stream", "/ag-ui/threads/t", "/agent-run/t/stream")
    }

    for path, said in whole.items():
        assert all(f'"{text}"' in said.decode() for text in ("Hel", "lo", "wor", "ld")) and b'"old"' not in said, path
        # Also in the middle of what became of one event (AG-UI).
        assert len(ids(said)) >= 5
        for place, id in enumerate(ids(said)[:-1]):
            rest = await stage.read(path, last=id)
            assert blocks(said)[-len(blocks(rest)) :] == blocks(rest), (path, id)
            assert ids(rest) == ids(said)[place + 1 :], (path, id)
        assert (await stage.edge.http.get(path, headers={"Last-Event-ID": end})).status_code == 204
    runs = (await stage.edge.http.get("/thread/t/agent-runs")).json()["agent_runs"]
    assert [(run["id"], run["status"]) for run in runs] == [("t:one", "completed"), ("t:zero", "completed")]
    told = (await stage.edge.http.get("/threads/t/state")).json()["values"]["messages"]
    assert [message["content"] for message in told] == ["old", "Hello" + "world"]
    for cursor in old:
        assert b'ld"' in await stage.read("/agent-run/t/stream", last=cursor)


async def test_a_stream_of_the_durable_protocol_is_one_over_generations_and_closed_once(stage: Stage) -> None:
    await stage.fill()
    former = {"incarnation": "zero"}
    await stage.say("agent.r", ("workflow_start", former), ("completion", {**former, "success": True}))
    (_, first, _) = await stage.say("agent.r", START, token("Hel"), token("lo"))
    path = "/streams/runs/r"
    going = await stage.edge.http.get(path)
    await stage.reshard(3)
    quiet = await stage.edge.http.get(path, params={"offset": going.headers[NEXT]})
    await stage.say("agent.r", token("world"), END)
    rest = await stage.edge.http.get(path, params={"offset": quiet.headers[NEXT]})

    def texts(events: list[dict[str, Any]]) -> list[str]:
        return [event["data"].get("content", "") for event in events]

    assert texts(going.json()) == ["", "Hel", "lo"] and CLOSED not in going.headers
    assert (quiet.json(), CLOSED in quiet.headers) == ([], False)
    assert (texts(rest.json()), rest.headers[CLOSED]) == (["world", ""], "true")
    # The end of a run stays where it is after another reshard.
    await stage.reshard(2)
    await stage.fill()
    for offset, expected in (
        (first, ["lo", "world", ""]),
        (going.headers[NEXT], ["world", ""]),
        (rest.headers[NEXT], []),
    ):
        page, found = offset, []
        while True:
            answer = await stage.edge.http.get(path, params={"offset": page})
            found += texts(answer.json())
            page = answer.headers[NEXT]
            if CLOSED in answer.headers:
                break
        assert (found, page) == (expected, rest.headers[NEXT])
        said = (await stage.read(f"{path}?offset={offset}&live=sse")).decode()
        arrays = [json.loads(data) for data in re.findall(r"event: data\ndata: ?(.+)", said)]
        assert texts([event for array in arrays for event in array]) == expected
        assert said.count('"streamClosed":true') == 1
    head = await stage.edge.http.head(path)
    assert (head.headers[NEXT], head.headers[CLOSED]) == (rest.headers[NEXT], "true")


async def test_an_answer_of_a_conversation_begins_behind_the_one_before_in_whichever_generation(stage: Stage) -> None:
    await stage.fill()
    await stage.say("thread.c", token("one"), ("done", {"content": "one"}))
    await stage.say("job.j", ("video_render_progress", {"progress": 0.1}))
    await stage.reshard(2)
    going = ("video_render_progress", {"progress": 0.5})
    await stage.say("job.j", going)

    assert b'"one"' in await stage.read("/agent-run/c/stream")
    await stage.say("thread.c", token("two"), ("done", {"content": "two"}))
    said = await stage.read("/agent-run/c/stream")
    assert b'"two"' in said and b'"one"' not in said
    async with streaming(stage.edge, "/api/stream/render-progress/j") as stream:
        await stream.until(b"0.5")
        await stage.say("job.j", ("completion", {"success": True}))
        said = await stream.rest()
    assert b"0.1" in said or b"0.5" in said
    assert (await stage.edge.http.get("/api/jobs/j/status")).json()["status"] == "completed"
