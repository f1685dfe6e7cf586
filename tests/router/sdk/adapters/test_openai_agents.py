"""Tests of openai_agents.py: real agents of the SDK with a model of the test's own, told of on a real nats-server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from agents import Agent, Model, ModelResponse, Runner, Usage, custom_span, function_tool, set_trace_processors
from agents.tracing import generation_span
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from router.broker import Broker
from router.event import Event
from router.sdk import Run
from router.sdk.adapters.openai_agents import RunTracingProcessor, reporting_to
from tests.router.sdk.runs import events_of, types


class ScriptedModel(Model):
    """Answers with the next of its outputs, traced as the SDK's own chat model traces."""

    def __init__(self, *outputs: Any) -> None:
        self._outputs = list(outputs)

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        with generation_span(model="scripted-1", model_config={"temperature": 0.5}) as span:
            output = self._outputs.pop(0)
            if isinstance(output, Exception):
                span.set_error({"message": "Error", "data": {"error": str(output)}})
                raise output
            span.span_data.output = [output.model_dump()]
            span.span_data.usage = {"input_tokens": 7, "output_tokens": 5}
            usage = Usage(requests=1, input_tokens=7, output_tokens=5, total_tokens=12)
            return ModelResponse(output=[output], usage=usage, response_id=None)

    def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        raise NotImplementedError


def says(text: str) -> ResponseOutputMessage:
    part = ResponseOutputText(text=text, type="output_text", annotations=[])
    return ResponseOutputMessage(id="m", role="assistant", status="completed", type="message", content=[part])


def calls(name: str, arguments: str, id: str = "call-1") -> ResponseFunctionToolCall:
    return ResponseFunctionToolCall(name=name, arguments=arguments, call_id=id, type="function_call")


@function_tool
def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


@pytest.fixture
def processor() -> Iterator[RunTracingProcessor]:
    """One processor for all runs of the process, in place of the one that exports to OpenAI."""
    processor = RunTracingProcessor()
    set_trace_processors([processor])
    yield processor
    set_trace_processors([])


def of(events: list[Event], *kinds: str) -> list[dict[str, Any]]:
    return [dict(event.data) for event in events if event.type in kinds]


async def test_an_agent_its_model_and_its_tools_are_told_of(
    broker: Broker, entity: str, processor: RunTracingProcessor
) -> None:
    model = ScriptedModel(calls("add", '{"a": 1, "b": 2}'), says("The sum is 3."))
    agent = Agent(name="adder", model=model, tools=[add])

    async with Run(entity, broker) as run:
        with reporting_to(run):
            result = await Runner.run(agent, "1 + 2?")

    assert result.final_output == "The sum is 3."
    events = await events_of(broker, entity)
    (use,) = [event for event in events if event.type == "tool_use"]
    (told,) = [event for event in events if event.type == "tool_result"]
    assert (use.data["tool_name"], use.data["parameters"]) == ("add", {"a": 1, "b": 2})
    assert (str(told.data["result"]), told.data["success"], told.cause) == ("3", True, use.id)
    assert [data["model"] for data in of(events, "model_selection")] == ["scripted-1", "scripted-1"]
    assert "".join(data["content"] for data in of(events, "streaming_chunk")) == "The sum is 3."
    steps = of(events, "workflow_step")
    started = {data["span"]: data for data in steps if data["status"] == "started"}
    assert (steps[0]["kind"], steps[-1]["kind"], steps[-1]["tokens_used"]) == ("workflow", "workflow", 24)
    assert "adder" in {data["step"] for data in started.values()}
    above, path = use.data["parent"], []
    while above:
        path.append(started[above]["kind"])
        above = started[above].get("parent")
    assert path[-1] == "workflow" and "agent" in path
    assert sum(data.get("tokens_used", 0) for data in steps if data["kind"] == "model") == 24


async def test_each_trace_belongs_to_the_run_of_its_context(
    broker: Broker, entity: str, processor: RunTracingProcessor
) -> None:
    async def work(name: str) -> None:
        async with Run(f"{entity}-{name}", broker) as run:
            with reporting_to(run):
                await Runner.run(Agent(name=name, model=ScriptedModel(says(f"I am {name}"))), "who?")

    await asyncio.gather(work("a"), work("b"))
    await Runner.run(Agent(name="c", model=ScriptedModel(says("nobody's"))), "who?")

    for name in "ab":
        events = await events_of(broker, f"{entity}-{name}")
        assert [data["content"] for data in of(events, "streaming_chunk")] == [f"I am {name}"]


async def test_the_error_of_a_model_is_told_once(broker: Broker, entity: str, processor: RunTracingProcessor) -> None:
    agent = Agent(name="unlucky", model=ScriptedModel(ValueError("no such model")))

    with pytest.raises(ValueError):
        async with Run(entity, broker) as run:
            with reporting_to(run):
                await Runner.run(agent, "?")

    events = await events_of(broker, entity)
    assert "failed" in {data["status"] for data in of(events, "workflow_step") if data["kind"] == "model"}
    assert [data["error"] for data in of(events, "error") if data["recoverable"]] == ["no such model"]
    assert events[-1].data["success"] is False


async def test_a_run_that_is_asked_to_stop_cancels_the_agent_at_its_next_span(
    broker: Broker, entity: str, processor: RunTracingProcessor
) -> None:
    @function_tool
    def ask_to_stop() -> str:
        """Asks."""
        run.stopped.set()
        return "asked"

    model = ScriptedModel(calls("ask_to_stop", "{}"), says("never said"))

    with pytest.raises(asyncio.CancelledError):
        async with Run(entity, broker) as run:
            with reporting_to(run):
                await Runner.run(Agent(name="stopped", model=model, tools=[ask_to_stop]), "go")

    events = await events_of(broker, entity)
    assert of(events, "streaming_chunk") == []
    assert (events[-1].data["status"], events[-1].data["error"]) == ("cancelled", "stopped on request")


async def test_spans_of_ones_own_are_steps(broker: Broker, entity: str) -> None:
    async with Run(entity, broker) as run:
        set_trace_processors([RunTracingProcessor(run)])
        from agents import trace

        with trace("job"), custom_span("prepare"):
            pass
        set_trace_processors([])

    events = await events_of(broker, entity)
    assert [(data["step"], data["status"]) for data in of(events, "workflow_step")] == [
        ("job", "started"), ("prepare", "started"), ("prepare", "completed"), ("job", "completed"),
    ]  # fmt: skip
    assert types(events)[-1] == "completion"
