"""An address that starts an agent stands for one run: of a principal, of its parameters."""

from __future__ import annotations

import asyncio

from edge.surfaces.agents import START_TRIES
from router.broker import Broker
from router.sdk import Run
from router.sdk.agents import AgentInput, agent
from router.sdk.agents.server import AgentServer
from tests.edge.auth.conftest import SecuredFactory
from tests.edge.conftest import RunningEdge
from tests.edge.surfaces.conftest import Serving, Worker, streaming

PATH = "/api/stream/evaluate-creative?content="


async def test_another_text_is_another_run(edge: RunningEdge, entity: str, serving: Serving) -> None:
    async with serving("evaluation") as agent:
        for text in (f"{entity}-1", f"{entity}-2", f"{entity}-1"):
            async with streaming(edge, PATH + text) as stream:
                await stream.until(b"connected")

    assert [asked["input"]["content"] for asked in agent.asked] == [f"{entity}-1", f"{entity}-2"]  # type: ignore[index]
    assert len({str(asked["run"]) for asked in agent.asked}) == 2


async def test_who_may_not_command_the_agent_starts_nothing(
    secured: SecuredFactory, entity: str, serving: Serving
) -> None:
    async with secured() as edge, serving("evaluation") as agent:
        reader = edge.as_("reader", read=["agent.>"])
        refused = await reader.http.get(PATH + entity)
        both = await asyncio.gather(
            *(
                edge.as_(user, read=["agent.>"], command=["evaluation.main.start"]).http.head(PATH + entity)
                for user in ("a", "b")
            )
        )

    assert (refused.status_code, refused.json()["code"]) == (403, "not_granted")
    assert [answer.status_code for answer in both] == [200, 200]
    assert agent.asked == []


async def test_replicas_without_room_are_asked_a_few_times_and_then_the_client_is_told_when_to_come_back(
    edge: RunningEdge, entity: str, worker: Worker
) -> None:
    answer = await edge.http.post(f"/thread/{entity}/agent/start", json={"agent": worker.name, "full": True})
    nobody = await edge.http.post(f"/thread/{entity}/agent/start", json={"agent": "nobody-here"})

    assert (answer.status_code, answer.headers["retry-after"], answer.json()["detail"]) == (503, "2", "full")
    assert worker.refused == START_TRIES
    assert nobody.headers["retry-after"] == "2"


async def test_two_tabs_that_start_one_address_at_once_read_one_run(
    edge: RunningEdge, store: Broker, entity: str
) -> None:
    begun, reading, two = list[str](), list[None](), asyncio.Event()

    @agent("evaluation")
    async def evaluation(run: Run, input: AgentInput) -> None:
        begun.append(run.incarnation)
        await run.emit("ai_evaluation_stream", {"chunk": f"of {entity}", "model": "none", "isComplete": False})
        await two.wait()

    async def read() -> bytes:
        async with streaming(edge, PATH + entity) as stream:
            await stream.until(b"of ")
            reading.append(None)
            if len(reading) == 3:
                two.set()
            return await stream.rest()

    stop, ready = asyncio.Event(), asyncio.Event()
    serving = asyncio.ensure_future(AgentServer([evaluation], store).run(stop, ready.set))
    await ready.wait()
    said = await asyncio.gather(*(read() for _ in range(3)))
    stop.set()
    await serving

    assert len(begun) == 1
    assert all(b'"complete"' in each for each in said)
