"""Tests of langchain.py: real chains, graphs, tools and models of LangChain, told of on a real nats-server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.callbacks import adispatch_custom_event
from langchain_core.documents import Document
from langchain_core.language_models import FakeListLLM, FakeStreamingListLLM, GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.prompts import PromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from router.broker import Broker
from router.event import Event
from router.sdk import Run, RunStopped, SyncRun
from router.sdk.adapters.langchain import LangChainHandler
from tests.router.sdk.adapters.models import USED, ToolCallingFake, agent, calls
from tests.router.sdk.runs import events_of, types

ANSWER = [{"type": "reasoning", "reasoning": "One and two make three."}, {"type": "text", "text": "The sum is 3."}]


@tool
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@tool
def divide(a: int, b: int) -> float:
    """Divides one number by another."""
    return a / b


def of(events: list[Event], *kinds: str) -> list[dict[str, Any]]:
    return [dict(event.data) for event in events if event.type in kinds]


def adding() -> Any:
    return agent([calls("add", a=1, b=2), AIMessage(content=ANSWER, usage_metadata=USED)], add)


QUESTION = {"messages": [("user", "What is 1 + 2?")]}


def assert_tells_of_the_addition(events: list[Event]) -> None:
    steps = [(data["step"], data["kind"], data["status"]) for data in of(events, "workflow_step")]
    assert [step for step in steps if step[1] != "model"] == [
        ("LangGraph", "chain", "started"),
        ("think", "node", "started"),
        ("think", "node", "completed"),
        ("tools", "node", "started"),
        ("tools", "node", "completed"),
        ("think", "node", "started"),
        ("think", "node", "completed"),
        ("LangGraph", "chain", "completed"),
    ]
    (use,) = [event for event in events if event.type == "tool_use"]
    (result,) = [event for event in events if event.type == "tool_result"]
    assert (use.data["tool_name"], use.data["parameters"]) == ("add", {"a": 1, "b": 2})
    assert (result.data["result"], result.data["success"], result.cause) == ("3", True, use.id)
    assert result.data["execution_time"] > 0
    assert of(events, "model_selection")[0]["model"] == "fake-1"
    assert [data["thought"] for data in of(events, "thinking")] == ["One and two make three."]
    assert "".join(data["content"] for data in of(events, "streaming_chunk")) == "The sum is 3."
    # The tree: a tool below its node, which is below the graph.
    started = {data["span"]: data for data in of(events, "workflow_step") if data["status"] == "started"}
    node = started[use.data["parent"]]
    assert node["step"] == "tools" and started[node["parent"]]["step"] == "LangGraph"
    assert types(events)[-1] == "completion" and events[-1].data["tokens_used"] == 24


async def test_a_langgraph_agent_is_told_of_as_a_tree_with_its_tools_its_text_and_its_tokens(
    broker: Broker, entity: str
) -> None:
    async with Run(entity, broker) as run:
        handler = LangChainHandler(run)
        await adding().ainvoke(QUESTION, {"callbacks": [handler]})

    assert_tells_of_the_addition(await events_of(broker, entity))


async def test_a_graph_that_runs_in_a_thread_beside_the_loop_of_the_run_is_told_of_in_order(
    broker: Broker, entity: str
) -> None:
    async with Run(entity, broker) as run:
        handler = LangChainHandler(run)
        await asyncio.to_thread(adding().invoke, QUESTION, {"callbacks": [handler]})

    assert_tells_of_the_addition(await events_of(broker, entity))


async def test_a_graph_called_without_await_in_the_loop_of_the_run_does_not_wait_for_itself(
    broker: Broker, entity: str
) -> None:
    async with Run(entity, broker) as run:
        handler = LangChainHandler(run)
        adding().invoke(QUESTION, {"callbacks": [handler]})

    assert_tells_of_the_addition(await events_of(broker, entity))


async def test_a_program_without_asyncio_is_told_of_alike(nats_server: str, broker: Broker, entity: str) -> None:
    def program() -> None:
        with SyncRun(entity, nats_server) as run:
            handler = LangChainHandler(run)
            adding().invoke(QUESTION, {"callbacks": [handler]})

    await asyncio.to_thread(program)

    assert_tells_of_the_addition(await events_of(broker, entity))


async def test_tokens_are_passed_on_as_they_come_and_their_text_is_whole(broker: Broker, entity: str) -> None:
    words = " ".join(f"word{n}" for n in range(200))
    chain = PromptTemplate.from_template("Say {what}") | FakeStreamingListLLM(responses=[words])

    async with Run(entity, broker) as run:
        said = [piece async for piece in chain.astream({"what": "it"}, {"callbacks": [LangChainHandler(run)]})]

    events = await events_of(broker, entity)
    assert "".join(said) == words == "".join(data["content"] for data in of(events, "streaming_chunk"))
    started = [data["step"] for data in of(events, "workflow_step") if data["status"] == "started"]
    assert started[0] == "RunnableSequence" and "PromptTemplate" in started


async def test_reasoning_that_is_streamed_token_by_token_becomes_few_thoughts(broker: Broker, entity: str) -> None:
    class Reasoner(GenericFakeChatModel):
        def _stream(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
            blocks = [{"type": "reasoning", "reasoning": f"bit {n} "} for n in range(40)]
            for block in [*blocks, {"type": "text", "text": "so"}, {"type": "text", "text": " be it"}]:
                chunk = ChatGenerationChunk(message=AIMessageChunk(content=[block]))
                if run_manager:
                    run_manager.on_llm_new_token("", chunk=chunk)
                yield chunk

    async with Run(entity, broker) as run:
        config: Any = {"callbacks": [LangChainHandler(run)]}
        _ = [piece async for piece in Reasoner(messages=iter([])).astream("why?", config)]

    events = await events_of(broker, entity)
    (thought,) = of(events, "thinking")
    assert thought["thought"] == "".join(f"bit {n} " for n in range(40)).strip()
    assert "".join(data["content"] for data in of(events, "streaming_chunk")) == "so be it"


@pytest.mark.filterwarnings("ignore:The method")
async def test_the_event_protocol_of_langchain_is_understood_as_well(broker: Broker, entity: str) -> None:
    model = ToolCallingFake(messages=iter([AIMessage(content="two words")]))

    async with Run(entity, broker) as run:
        stream = await model.astream_events("go", {"callbacks": [LangChainHandler(run)]}, version="v3")  # type: ignore[call-overload,misc]
        async for _ in stream:
            pass

    assert "".join(data["content"] for data in of(await events_of(broker, entity), "streaming_chunk")) == "two words"


async def test_a_failure_is_reported_once_where_it_came_from_and_ends_each_step_above(
    broker: Broker, entity: str
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with Run(entity, broker) as run:
            chain = RunnableLambda(lambda _: {"a": 1, "b": 0}) | divide
            await chain.with_config(run_name="quotient").ainvoke("x", {"callbacks": [LangChainHandler(run)]})

    events = await events_of(broker, entity)
    (result,) = of(events, "tool_result")
    assert (result["success"], result["error_type"]) == (False, "ZeroDivisionError")
    assert [data["recoverable"] for data in of(events, "error")] == [True, False]  # the tool's, and the run's own
    assert [data["status"] for data in of(events, "workflow_step")] == ["started", "failed"]
    assert events[-1].data["success"] is False


async def test_a_graph_that_waits_for_a_person_has_not_failed(broker: Broker, entity: str) -> None:
    async def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [("ai", f"You said {interrupt('May I?')}")]}

    builder = StateGraph(MessagesState)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    graph = builder.compile(checkpointer=InMemorySaver())

    async with Run(entity, broker) as run:
        config: Any = {"callbacks": [LangChainHandler(run)], "configurable": {"thread_id": entity}}
        await graph.ainvoke(QUESTION, config)
        answer = await graph.ainvoke(Command(resume="yes"), config)

    events = await events_of(broker, entity)
    assert answer["messages"][-1].content == "You said yes"
    assert of(events, "error") == [] and "interrupted" in {data["status"] for data in of(events, "workflow_step")}
    assert "failed" not in {data["status"] for data in of(events, "workflow_step")}


async def test_a_retriever_is_a_tool(broker: Broker, entity: str) -> None:
    class Shelf(BaseRetriever):
        def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
            return [Document("text", metadata={"source": "book.txt"})]

    async with Run(entity, broker) as run:
        await Shelf().ainvoke("what?", {"callbacks": [LangChainHandler(run)]})

    events = await events_of(broker, entity)
    assert of(events, "tool_use")[0]["parameters"] == {"query": "what?"}
    assert of(events, "tool_result")[0]["result"] == {"documents": 1, "sources": ["book.txt"]}


async def test_a_programs_own_events_are_passed_on(broker: Broker, entity: str) -> None:
    async def work(_: Any) -> None:
        await adispatch_custom_event("progress", {"progress": 0.5, "message": "half"})
        await adispatch_custom_event("note", {"n": 1})
        await adispatch_custom_event("No Type!", {"n": 2})

    async with Run(entity, broker) as run:
        await RunnableLambda(work).ainvoke("x", {"callbacks": [LangChainHandler(run)]})

    events = await events_of(broker, entity)
    assert of(events, "progress") == [{"progress": 0.5, "message": "half"}]
    assert of(events, "note") == [{"n": 1}]
    assert types(events)[-1] == "completion"


async def test_a_run_that_is_asked_to_stop_ends_the_model_in_mid_sentence_and_is_cancelled(
    broker: Broker, entity: str
) -> None:
    model = GenericFakeChatModel(messages=iter([AIMessage(content="a b c d e f g h")]))
    said: list[Any] = []

    with pytest.raises(RunStopped):
        async with Run(entity, broker) as run:
            async for piece in model.astream("go", {"callbacks": [LangChainHandler(run)]}):
                said.append(piece.content)
                run.stopped.set()

    events = await events_of(broker, entity)
    assert said == ["a"]
    assert of(events, "workflow_step")[-1]["status"] == "cancelled" and of(events, "error") == []
    assert (events[-1].type, events[-1].data["status"]) == ("completion", "cancelled")


async def test_a_stop_ends_a_graph_in_another_thread(broker: Broker, entity: str) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    @tool
    def wait() -> str:
        """Waits."""
        loop.call_soon_threadsafe(started.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
        return "waited"

    graph = agent([calls("wait"), AIMessage(content="not said")], wait)

    with pytest.raises(RunStopped):
        async with Run(entity, broker) as run:
            working = asyncio.ensure_future(
                asyncio.to_thread(graph.invoke, QUESTION, {"callbacks": [LangChainHandler(run)]})
            )
            await started.wait()
            run.stopped.set()
            go_on.set()
            await working

    events = await events_of(broker, entity)
    assert of(events, "streaming_chunk") == [] and events[-1].data["status"] == "cancelled"


async def test_the_program_goes_on_where_the_run_is_over(broker: Broker, entity: str) -> None:
    async with Run(entity, broker) as run:
        handler = LangChainHandler(run)
        await run.complete()
        said = await FakeListLLM(responses=["late"]).ainvoke("x", {"callbacks": [handler]})

    assert said == "late" and types(await events_of(broker, entity)) == ["workflow_start", "completion"]
