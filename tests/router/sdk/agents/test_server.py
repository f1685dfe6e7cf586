"""Agents on a real nats-server: begun, stopped, refused, drained; one run of a thread at a time, whoever serves."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from router.broker import Broker
from router.codec import encode
from router.errors import BadInput
from router.event import Event
from router.nats.service import Service
from router.runs import RunLedger
from router.sdk import Run
from router.sdk.agents import AgentInput, agent
from router.sdk.agents.server import SHUTDOWN, AgentServer
from router.sdk.agents.threads import BUSY_SECONDS
from router.sdk.agents.turn import AgentTurn
from tests.router.sdk.agents.conftest import Serves
from tests.router.sdk.runs import types
from tests.waiting import in_time


async def test_what_a_coroutine_says_and_returns_are_a_run(serves: Serves, entity: str) -> None:
    @agent(entity)
    async def assistant(run: Run, input: AgentInput) -> Any:
        """Repeats what it is told."""
        await run.chunk(input.text)
        return {"said": input.text}

    async with serves(assistant) as served:
        life = await served.begin(entity, {"messages": [{"role": "user", "content": "Grüß Gott"}]})
        said = await served.ended(entity)

    assert types(said) == ["workflow_start", "streaming_chunk", "completion"]
    assert said[0].data == {"incarnation": life, "name": entity, "agent": entity}
    assert said[1].data["content"] == "Grüß Gott"
    assert (said[2].data["success"], said[2].data["result"]) == (True, {"said": "Grüß Gott"})


async def test_a_second_start_on_a_thread_is_refused_until_the_first_has_ended(serves: Serves, entity: str) -> None:
    go = asyncio.Event()

    @agent(entity)
    async def assistant(run: Run, input: AgentInput) -> None:
        await go.wait()

    async with serves(assistant) as served, serves(assistant):
        begun = await served.begin(entity)
        answers = await asyncio.gather(*(served.start(entity) for _ in range(6)))
        again = await served.start(entity, incarnation=begun)
        other = await served.begin(f"{entity}-2")
        go.set()
        said = await served.ended(entity)
        repeated = await served.begin(entity, incarnation=begun)
        both = await served.ended(entity, times=2)

    assert {code for code, _ in answers} == {"409"} and "goes on" in answers[0][1]
    assert (again[0], again[1]["incarnation"]) == ("", begun), "a start that is repeated is the same start"
    assert repeated != begun, "and one that comes behind its end another one"
    assert other
    assert types(said) == ["workflow_start", "completion"]
    assert types(both) == ["workflow_start", "completion"] * 2


async def test_of_many_starts_of_one_thread_in_several_processes_one_begins(serves: Serves, entity: str) -> None:
    @agent(entity)
    async def assistant(run: Run, input: AgentInput) -> None:
        await run.stopped.wait()

    async with serves(assistant) as served, serves(assistant), serves(assistant):
        answers = await asyncio.gather(*(served.start(entity) for _ in range(12)))

    assert sorted(code for code, _ in answers) == ["", *["409"] * 11]


async def test_a_stop_cancels_the_coroutine_whose_finally_blocks_run(serves: Serves, entity: str) -> None:
    working = asyncio.Event()

    @agent(entity)
    async def assistant(run: Run, input: AgentInput) -> None:
        try:
            await run.chunk("half of")
            working.set()
            await asyncio.sleep(3600)
        finally:
            await run.emit("output", {"line": "cleaned up"})

    async with serves(assistant) as served:
        await served.begin(entity)
        await working.wait()
        await served.tell_to_stop(entity, "enough")
        said = await served.ended(entity)
        await served.begin(entity)

    assert types(said) == ["workflow_start", "streaming_chunk", "stopping", "output", "completion"]
    assert said[2].data == {"reason": "enough"}
    assert said[-1].data["status"] == "cancelled" and said[-1].data["success"] is False


async def test_work_that_does_not_end_when_it_is_cancelled_holds_up_neither_the_end_nor_the_thread(
    serves: Serves, entity: str
) -> None:
    working, let_go = asyncio.Event(), asyncio.Event()

    @agent(entity, stop_timeout=0.05)
    async def assistant(run: Run, input: AgentInput) -> None:
        working.set()
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue

    async with serves(assistant) as served:
        await served.begin(entity)
        await working.wait()
        await served.tell_to_stop(entity)
        said = await served.ended(entity)
        await served.begin(entity)
        served.stop.set()
        await served.ended(entity, times=2)
        let_go.set()

    assert said[-1].data["status"] == "cancelled"


@pytest.mark.parametrize("kind", ["async generator", "generator", "function"])
async def test_generators_and_functions_without_asyncio_are_served_and_stopped(
    serves: Serves, entity: str, kind: str
) -> None:
    working, closed = threading.Event(), threading.Event()

    async def pieces(run: Run, input: AgentInput) -> Any:
        try:
            yield "one "
            yield {"type": "thinking", "thought": "hm"}
            while input.get("long"):
                working.set()
                await asyncio.sleep(0.005)
        finally:
            closed.set()

    def plain(run: Any, input: AgentInput) -> Any:
        try:
            yield "one "
            yield {"type": "thinking", "data": {"thought": "hm"}}
            while input.get("long"):
                working.set()
                yield "more "
                threading.Event().wait(0.005)
            return 7
        finally:
            closed.set()

    def function(run: Any, input: AgentInput) -> Any:
        try:
            run.chunk("one ")
            run.thinking("hm")
            while input.get("long") and not run.cancelled:
                working.set()
                threading.Event().wait(0.005)
            return 7
        finally:
            closed.set()

    chosen: Any = {"async generator": pieces, "generator": plain, "function": function}[kind]
    async with serves(agent(entity)(chosen)) as served:
        await served.begin(f"{entity}-1")
        short = await served.ended(f"{entity}-1")
        closed.clear()
        await served.begin(f"{entity}-2", {"long": True})
        await asyncio.to_thread(working.wait)
        await served.tell_to_stop(f"{entity}-2")
        long = await served.ended(f"{entity}-2")

    assert types(short) == ["workflow_start", "streaming_chunk", "thinking", "completion"]
    assert short[-1].data["result"] == (None if kind == "async generator" else 7)
    assert long[-1].data["status"] == "cancelled"
    assert closed.is_set()


@pytest.mark.parametrize("sync", [True, False])
async def test_an_exception_fails_the_run_with_its_last_line_and_no_secret(
    serves: Serves, entity: str, monkeypatch: pytest.MonkeyPatch, sync: bool
) -> None:
    monkeypatch.setenv("SOME_MODEL_KEY", "zaphod-beeblebrox")

    async def coroutine(run: Run, input: AgentInput) -> None:
        raise ConnectionError("no answer with zaphod-beeblebrox from https://me:pw@example.org/v1")

    def function(run: Any, input: AgentInput) -> None:
        raise ConnectionError("no answer with zaphod-beeblebrox from https://me:pw@example.org/v1")

    async with serves(agent(entity)(function if sync else coroutine)) as served:
        await served.begin(entity)
        said = await served.ended(entity)

    line = "ConnectionError: no answer with *** from https://***@example.org/v1"
    assert types(said) == ["workflow_start", "error", "completion"]
    assert (said[1].data["error"], said[1].data["recoverable"]) == (line, False)
    assert (said[2].data["success"], said[2].data["error"]) == (False, line)
    assert said[2].data["error_type"] == "ConnectionError"


async def test_an_end_that_the_function_says_itself_is_the_run_s(serves: Serves, entity: str) -> None:
    @agent(entity)
    async def assistant(run: Run, input: AgentInput) -> None:
        await run.complete("mine", tokens_used=3)
        raise ValueError("after the end")

    async with serves(assistant) as served:
        await served.begin(entity)
        said = await served.ended(entity)

    assert types(said) == ["workflow_start", "completion"]
    assert (said[1].data["result"], said[1].data["tokens_used"]) == ("mine", 3)


async def test_runs_beyond_the_concurrency_wait_for_their_turn_and_those_beyond_the_backlog_are_refused(
    serves: Serves, entity: str
) -> None:
    go, order = asyncio.Event(), list[str]()

    @agent(entity, concurrency=1, backlog=2)
    async def assistant(run: Run, input: AgentInput) -> None:
        order.append(run.run)
        await go.wait()

    async with serves(assistant) as served:
        for n in range(3):
            await served.begin(f"{entity}-{n}")
        refused = await served.start(f"{entity}-3")
        await served.tell_to_stop(f"{entity}-1")
        stopped = await served.ended(f"{entity}-1")
        go.set()
        waited = await served.ended(f"{entity}-2")

    assert (refused[0], "no more are taken" in refused[1]) == ("503", True)
    assert types(stopped) == ["workflow_start", "status", "stopping", "completion"]
    assert (waited[1].data["status"], waited[-1].data["success"]) == ("queued", True)
    assert order == [f"{entity}-0", f"{entity}-2"]


@pytest.mark.parametrize(
    ("order", "why"),
    [
        ({"run": ""}, "needs run"),
        ({"domain": "camera"}, "domain"),
        ({"run": "a" * 300}, "subject"),
        ({"input": 7}, "input must be an object"),
        ({"input": {"messages": "hi"}}, "input.messages must be a list"),
        ({"input": {"messages": ["hi"]}}, "input.messages[0] must be an object"),
    ],
)
async def test_what_cannot_be_begun_is_refused_and_begins_nothing(
    serves: Serves, entity: str, order: dict[str, Any], why: str
) -> None:
    @agent(entity)
    async def assistant(run: Run, input: AgentInput) -> None: ...

    async with serves(assistant) as served:
        code, reason = await served.start(**{"run": entity, **order})

    assert (code, why in reason) == ("422", True), reason


async def test_a_server_that_stops_lets_runs_end_and_fails_those_that_do_not_with_the_reason(
    serves: Serves, entity: str
) -> None:
    go, cancelled = asyncio.Event(), asyncio.Event()

    @agent(entity)
    async def assistant(run: Run, input: AgentInput) -> str:
        try:
            await (go if input.get("short") else asyncio.Event()).wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return "in time"

    async with serves(assistant, grace=0.5) as served:
        await served.begin(f"{entity}-1", {"short": True})
        await served.begin(f"{entity}-2")
        served.stop.set()
        await asyncio.sleep(0)
        refused = await served.start(f"{entity}-3")
        go.set()
        ended = [await served.ended(f"{entity}-{n}") for n in (1, 2)]

    assert refused == ("503", "shutting down")
    assert ended[0][-1].data["result"] == "in time"
    assert (ended[1][-1].data["error"], ended[1][-1].data["success"]) == (SHUTDOWN, False)
    assert cancelled.is_set()


async def test_a_run_that_another_process_has_ended_is_cancelled_and_says_no_more(serves: Serves, entity: str) -> None:
    working, cancelled = asyncio.Event(), asyncio.Event()

    @agent(entity)
    async def assistant(run: Run, input: AgentInput) -> None:
        working.set()
        try:
            await asyncio.sleep(3600)
        finally:
            cancelled.set()

    async with serves(assistant, ttl=1.0) as served:
        await served.begin(entity)
        await working.wait()
        async with Run(entity, served.broker, domain="thread") as newer:
            await in_time(cancelled.wait(), 60)
            await newer.complete("of the newer one")
        said = await served.ended(entity)

    assert types(said) == ["workflow_start", "workflow_start", "completion"]
    assert said[-1].data["result"] == "of the newer one"


async def test_a_run_that_was_failed_in_its_place_is_cancelled_and_not_revived(serves: Serves, entity: str) -> None:
    working, cancelled = asyncio.Event(), asyncio.Event()

    @agent(entity)
    async def assistant(run: Run, input: AgentInput) -> None:
        working.set()
        try:
            await asyncio.sleep(3600)
        finally:
            cancelled.set()

    async with serves(assistant, ttl=1.0) as served:
        life = await served.begin(entity)
        await working.wait()
        failed = Event.new(f"thread.{entity}.completion", {"success": False, "synthesized": True, "incarnation": life})
        await RunLedger(served.broker).end(failed, encode(failed), incarnation=life, synthesized=True)
        await in_time(cancelled.wait(), 60)
        await served.begin(entity)
        said = await served.ended(entity)

    assert types(said)[:2] == ["workflow_start", "completion"]
    assert said[1].id == failed.id


async def test_who_stops_a_run_and_begins_the_next_one_waits_for_its_end(serves: Serves, entity: str) -> None:
    working, slow = asyncio.Event(), asyncio.Event()

    @agent(entity)
    async def assistant(run: Run, input: AgentInput) -> None:
        if input.get("next"):
            return
        working.set()
        try:
            await asyncio.sleep(3600)
        finally:
            # Longer than a start waits for a run that nobody has stopped.
            await asyncio.sleep(2 * BUSY_SECONDS)
            slow.set()

    async with serves(assistant) as served, serves(assistant):
        await served.begin(entity)
        await working.wait()
        await served.tell_to_stop(entity)
        await served.begin(entity, {"next": True})
        said = await served.ended(entity, times=2)

    assert slow.is_set()
    assert [each.data.get("status") for each in said if each.type == "completion"] == ["cancelled", None]


async def test_a_fault_of_ours_in_one_run_ends_no_other(
    serves: Serves, entity: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @agent(entity)
    async def assistant(run: Run, input: AgentInput) -> None: ...

    async with serves(assistant) as served:
        with monkeypatch.context() as broken:
            broken.setattr(AgentTurn, "play", None)
            assert (await served.start(f"{entity}-1"))[0] == "500"
        await served.begin(f"{entity}-2")
        await served.ended(f"{entity}-2")

    assert "could not be carried out" in caplog.text


async def test_its_service_tells_what_it_is_and_how_much_it_does(broker: Broker, entity: str) -> None:
    @agent(entity, concurrency=3)
    async def assistant(run: Run, input: AgentInput) -> None:
        """Answers.

        At length.
        """

    served = AgentServer([assistant], broker)._hosted[0]
    assert isinstance(served.service, Service)
    assert served.service._info()["description"] == "Answers."
    assert served.service._statistics()["endpoints"][0]["data"] == {"running": 0, "waiting": 0, "concurrency": 3}


def test_two_agents_of_one_name_and_none_are_refused(broker_settings: Any) -> None:
    @agent("twice")
    async def one(run: Run, input: AgentInput) -> None: ...

    for given in ([], [one, one]):
        with pytest.raises(BadInput):
            AgentServer(given, Broker(broker_settings, "test"))
