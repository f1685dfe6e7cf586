"""Tests of otel.py: spans of the real SDK by the semantic conventions for generative AI."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as names
from opentelemetry.trace import Status, StatusCode, Tracer

from router.broker import Broker
from router.event import Event
from router.sdk import Run, RunSettings, RunStopped, SyncRun
from router.sdk.adapters.otel import RunSpanProcessor, reporting_to
from tests.router.sdk.runs import events_of, types
from tests.waiting import eventually


def tracer_of(processor: RunSpanProcessor) -> Tracer:
    provider = TracerProvider()
    provider.add_span_processor(processor)
    return provider.get_tracer("test")


def of(events: list[Event], *kinds: str) -> list[dict[str, Any]]:
    return [dict(event.data) for event in events if event.type in kinds]


def work(tracer: Tracer) -> None:
    """An agent as instrumentations record it, with a span of HTTP between."""
    with tracer.start_as_current_span(
        "invoke_agent adder", attributes={names.GEN_AI_OPERATION_NAME: "invoke_agent", names.GEN_AI_AGENT_NAME: "adder"}
    ):
        chat = {
            names.GEN_AI_OPERATION_NAME: "chat",
            names.GEN_AI_PROVIDER_NAME: "fake",
            names.GEN_AI_REQUEST_MODEL: "fake-1",
            names.GEN_AI_REQUEST_TEMPERATURE: 0.5,
        }
        with tracer.start_as_current_span("chat fake-1", attributes=chat) as span:
            parts = [{"type": "reasoning", "content": "I add."}, {"type": "text", "content": "The sum is 3."}]
            span.set_attribute(names.GEN_AI_OUTPUT_MESSAGES, json.dumps([{"role": "assistant", "parts": parts}]))
            span.set_attribute(names.GEN_AI_USAGE_INPUT_TOKENS, 7)
            span.set_attribute(names.GEN_AI_USAGE_OUTPUT_TOKENS, 5)
            span.set_attribute(names.GEN_AI_RESPONSE_MODEL, "fake-1-2026")
            span.set_attribute("gen_ai.usage.cost", 0.002)
        with tracer.start_as_current_span("GET /sum"):
            tool = {
                names.GEN_AI_OPERATION_NAME: "execute_tool",
                names.GEN_AI_TOOL_NAME: "add",
                names.GEN_AI_TOOL_CALL_ARGUMENTS: '{"a": 1, "b": 2}',
            }
            with tracer.start_as_current_span("execute_tool add", attributes=tool) as span:
                span.set_attribute(names.GEN_AI_TOOL_CALL_RESULT, "3")


def assert_tells_of_the_work(events: list[Event]) -> None:
    assert types(events) == [
        "workflow_start", "workflow_step", "model_selection", "thinking", "streaming_chunk", "workflow_step", "tool_use",
        "tool_result", "workflow_step", "completion",
    ]  # fmt: skip
    agent, model, _ = of(events, "workflow_step")
    (chosen,) = of(events, "model_selection")
    assert (agent["step"], agent["kind"], agent["status"]) == ("adder", "agent", "started")
    assert (chosen["model"], chosen["provider"], chosen["temperature"]) == ("fake-1", "fake", 0.5)
    assert (model["tokens_used"], model["input_tokens"], model["output_tokens"]) == (12, 7, 5)
    assert (model["cost"], model["response_model"]) == (0.002, "fake-1-2026")
    assert of(events, "thinking")[0]["thought"] == "I add."
    assert of(events, "streaming_chunk") == [{"content": "The sum is 3.", "parent": chosen["span"]}]
    assert (events[-1].data["tokens_used"], events[-1].data["cost"]) == (12, 0.002)
    (use,), (result,) = of(events, "tool_use"), of(events, "tool_result")
    assert (use["tool_name"], use["parameters"], result["result"]) == ("add", {"a": 1, "b": 2}, 3)
    # The span of HTTP between them is none of ours.
    assert use["parent"] == chosen["parent"] == agent["span"]


async def test_spans_by_the_conventions_become_events(broker: Broker, entity: str) -> None:
    tracer = tracer_of(RunSpanProcessor())

    async with Run(entity, broker) as run:
        with reporting_to(run):
            work(tracer)
    work(tracer)

    assert_tells_of_the_work(await events_of(broker, entity))


async def test_spans_of_a_program_without_asyncio_do_alike(nats_server: str, broker: Broker, entity: str) -> None:
    def program() -> None:
        with SyncRun(entity, nats_server) as run:
            work(tracer_of(RunSpanProcessor(run)))

    await asyncio.to_thread(program)

    assert_tells_of_the_work(await events_of(broker, entity))


async def test_a_span_that_failed_is_an_error(broker: Broker, entity: str) -> None:
    async with Run(entity, broker) as run:
        tracer = tracer_of(RunSpanProcessor(run))
        tool = {names.GEN_AI_OPERATION_NAME: "execute_tool", names.GEN_AI_TOOL_NAME: "divide"}
        with pytest.raises(ZeroDivisionError), tracer.start_as_current_span("t", attributes=tool):
            _ = 1 / 0
        with tracer.start_as_current_span("chat", attributes={names.GEN_AI_OPERATION_NAME: "chat"}) as span:
            span.set_attribute("error.type", "timeout")
            span.set_status(Status(StatusCode.ERROR))

    events = await events_of(broker, entity)
    (result,) = of(events, "tool_result")
    assert (result["success"], result["error_type"]) == (False, "ZeroDivisionError")
    assert [data["error_type"] for data in of(events, "error")] == ["ZeroDivisionError", "timeout"]
    assert of(events, "workflow_step")[-1]["status"] == "failed"


async def test_a_span_that_says_only_while_it_runs_what_it_is_is_told_of_at_its_end(
    broker: Broker, entity: str
) -> None:
    async with Run(entity, broker) as run:
        with tracer_of(RunSpanProcessor(run)).start_as_current_span("call") as span:
            span.set_attribute(names.GEN_AI_OPERATION_NAME, "text_completion")
            span.set_attribute(names.GEN_AI_REQUEST_MODEL, "late-1")
            span.set_attribute("gen_ai.usage.prompt_tokens", 3)

    events = await events_of(broker, entity)
    assert of(events, "model_selection")[0]["model"] == "late-1"
    assert of(events, "workflow_step")[0]["tokens_used"] == 3


@pytest.mark.parametrize(
    "recorded", ['["text"]', '[{"parts": ["text", 5, null]}]', '[{"parts": "text"}]', "{torn", '[{"parts": 5}]']
)
async def test_a_span_whose_attributes_are_not_as_the_conventions_say_ends_all_the_same(
    broker: Broker, entity: str, recorded: str
) -> None:
    chat = {names.GEN_AI_OPERATION_NAME: "chat", names.GEN_AI_USAGE_INPUT_TOKENS: "12", "gen_ai.usage.cost": "dear"}
    async with Run(entity, broker) as run:
        processor = RunSpanProcessor(run)
        with tracer_of(processor).start_as_current_span("chat", attributes=chat) as span:
            span.set_attribute(names.GEN_AI_OUTPUT_MESSAGES, recorded)

        assert not processor._reports

    (step,) = of(await events_of(broker, entity), "workflow_step")
    assert step["status"] == "completed" and "tokens_used" not in step


async def test_arguments_that_are_set_once_the_tool_has_begun_are_told(
    broker: Broker, entity: str, nats_server: str
) -> None:
    tool = {names.GEN_AI_OPERATION_NAME: "execute_tool", names.GEN_AI_TOOL_NAME: "search"}

    async def search(tracer: Tracer) -> None:
        with tracer.start_as_current_span("execute_tool", attributes=tool) as span:
            span.set_attribute(names.GEN_AI_TOOL_CALL_ARGUMENTS, '{"q": "tea"}')
            await asyncio.sleep(0)

    def program() -> None:
        with SyncRun(f"{entity}b", nats_server) as run:
            asyncio.run(search(tracer_of(RunSpanProcessor(run))))

    async with Run(entity, broker) as run:
        await search(tracer_of(RunSpanProcessor(run)))
    await asyncio.to_thread(program)

    for name in (entity, f"{entity}b"):
        events = await events_of(broker, name)
        assert of(events, "tool_use", "tool_result")[0]["parameters"] == {"q": "tea"}
        assert of(events, "tool_result")[0]["parameters"] == {"q": "tea"}


@pytest.mark.parametrize("raises", [False, True], ids=["by the processor", "by the run"])
async def test_a_run_that_is_asked_to_stop_ends_at_the_start_of_its_next_span(
    broker: Broker, entity: str, raises: bool
) -> None:
    chat = {names.GEN_AI_OPERATION_NAME: "chat"}
    with pytest.raises(RunStopped):
        async with Run(entity, broker, settings=RunSettings(raise_on_stop=raises)) as run:
            tracer = tracer_of(RunSpanProcessor(run))
            with tracer.start_as_current_span("chat", attributes=chat):
                await eventually(lambda: run.waiting == 0)
                run._delivery.asked_to_stop("enough")
            with tracer.start_as_current_span("GET /"), tracer.start_as_current_span("chat", attributes=chat):
                raise AssertionError("the run was asked to stop")

    events = await events_of(broker, entity)
    assert types(events) == ["workflow_start", "model_selection", "stopping", "workflow_step", "completion"]
    assert events[-1].data["status"] == "cancelled"
