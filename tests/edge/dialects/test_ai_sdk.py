"""The bytes of the AI SDK's UI message stream: parts that begin and end, tools by one id, one end, and no unknown fields."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.dialects.ai_sdk import AI_SDK
from edge.dialects.folding import Folding
from edge.disconnect import COMPLETED, SHUTDOWN
from edge.transports.folding_encoders import FoldingSseEncoder
from edge.types import Notice
from router.codec import encode
from router.event import Event
from router.record import Record
from tests.edge.dialects.folds import EPOCH, records_of, written

RUN = records_of(
    ("workflow_start", {"incarnation": "m1"}),
    ("thinking", {"thought": "hm"}),
    ("streaming_chunk", {"content": "Grüß"}),
    ("token", {"content": " Gott"}),
    ("state", {"status": "running"}),
    ("tool_use", {"tool_name": "search", "parameters": {"q": "x"}}),
    ("tool_result", {"tool_name": "search", "result": [1], "success": True}),
    ("progress", {"progress": 0.5}),
    ("error", {"error": "slow model"}),
    ("token", {"content": "!"}),
    ("completion", {"success": True, "result": "Grüß Gott!"}),
)
CHUNKS: list[tuple[int, list[dict[str, Any]]]] = [
    (1, [{"type": "start", "messageId": "m1"}]),
    (
        2,
        [
            {"type": "reasoning-start", "id": "reasoning-1"},
            {"type": "reasoning-delta", "id": "reasoning-1", "delta": "hm"},
        ],
    ),
    (
        3,
        [
            {"type": "reasoning-end", "id": "reasoning-1"},
            {"type": "text-start", "id": "text-2"},
            {"type": "text-delta", "id": "text-2", "delta": "Grüß"},
        ],
    ),
    (4, [{"type": "text-delta", "id": "text-2", "delta": " Gott"}]),
    (
        6,
        [
            {"type": "text-end", "id": "text-2"},
            {
                "type": "tool-input-available",
                "toolCallId": "e6",
                "toolName": "search",
                "input": {"q": "x"},
                "dynamic": True,
            },
        ],
    ),
    (7, [{"type": "tool-output-available", "toolCallId": "e6", "output": [1], "dynamic": True}]),
    (8, [{"type": "data-progress", "data": {"progress": 0.5}, "id": "progress"}]),
    (9, [{"type": "data-error", "data": {"error": "slow model"}}]),
    (10, [{"type": "text-start", "id": "text-3"}, {"type": "text-delta", "id": "text-3", "delta": "!"}]),
    (11, [{"type": "text-end", "id": "text-3"}, {"type": "finish"}]),
]


def golden() -> bytes:
    said = ""
    for sequence, chunks in CHUNKS:
        said += "\n\n".join(f"data: {json.dumps(chunk, ensure_ascii=False, separators=(',', ':'))}" for chunk in chunks)
        said += f"\nid: 1-{EPOCH}-{sequence:012x}-{sequence:08x}\n\n"
    return said.encode()


def test_a_message_has_the_bytes_of_the_protocol() -> None:
    assert written(AI_SDK, RUN).decode() == golden().decode()


@given(st.integers(0, len(RUN)), st.lists(st.integers(1, 4), max_size=6))
def test_any_cut_and_resume_give_the_same_bytes_behind_the_cut(cut: int, sizes: list[int]) -> None:
    assert written(AI_SDK, RUN[:cut]) + written(AI_SDK, RUN, after=cut, sizes=sizes) == golden()


def chunks_of(*events: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    said = written(AI_SDK, records_of(*events)).decode()
    return [json.loads(line[6:]) for line in said.split("\n") if line.startswith("data: ")]


@pytest.mark.parametrize(
    ("end", "types"),
    [
        (("completion", {"success": True}), ["start", "finish"]),
        (
            ("completion", {"success": True, "result": "all"}),
            ["start", "text-start", "text-delta", "text-end", "finish"],
        ),
        (("done", {"content": "all"}), ["start", "text-start", "text-delta", "text-end", "finish"]),
        (("completion", {"success": False, "error": "no key"}), ["start", "error"]),
        (("completion", {"status": "cancelled"}), ["start", "abort"]),
    ],
)
def test_a_message_ends_once_as_its_run_did(end: tuple[str, dict[str, Any]], types: list[str]) -> None:
    assert [chunk["type"] for chunk in chunks_of(end)] == types


def test_a_run_that_resumes_goes_on_with_its_message() -> None:
    said = chunks_of(
        ("workflow_start", {}),
        ("token", {"content": "a"}),
        ("workflow_start", {"resumed": True}),
        ("token", {"content": "b"}),
    )

    assert [chunk["type"] for chunk in said] == ["start", "text-start", "text-delta", "text-delta"]


def test_a_result_finds_its_tool_by_its_cause_and_one_without_gets_it() -> None:
    def event(sequence: int, kind: str, cause: str | None = None, **data: Any) -> Record:
        made = Event.new(f"agent.r.{kind}", {"tool_name": "t", **data}, id=f"e{sequence}", cause=cause)
        return Record(sequence, str(made.subject), encode(made))

    records = [
        event(1, "tool_use"), event(2, "tool_use"), event(3, "tool_result", "e2", result=2),
        event(4, "tool_result", result=1), event(5, "tool_result", success=False, error="none"),
    ]  # fmt: skip
    lines = written(AI_SDK, records).decode().split("\n")
    said = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]

    assert [(chunk["type"], chunk["toolCallId"]) for chunk in said] == [
        ("tool-input-available", "e1"), ("tool-input-available", "e2"), ("tool-output-available", "e2"),
        ("tool-output-available", "e1"), ("tool-input-available", "e5"), ("tool-output-error", "e5"),
    ]  # fmt: skip


def test_a_stream_that_ends_before_its_run_is_no_complete_message() -> None:
    encoder = FoldingSseEncoder(Folding(AI_SDK, {}))

    assert encoder.notice(Notice("bye", {"reason": COMPLETED.reason})) == b"data: [DONE]\n\n"
    assert encoder.notice(Notice("bye", {"reason": SHUTDOWN.reason})).startswith(b'data: {"type":"error","errorText":')
    assert encoder.notice(Notice("ready", {})) == b""
    assert b'"data-gap"' in encoder.notice(Notice("gap", {"reason": "beyond_retention"}))
    assert (b"x-vercel-ai-ui-message-stream", b"v1") in AI_SDK.headers
