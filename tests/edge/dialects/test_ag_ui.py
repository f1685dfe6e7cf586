"""The bytes of AG-UI: a run that begins and ends, messages that are closed, tools by one id, and resuming in the middle."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.dialects.ag_ui import AG_UI
from edge.dialects.folding import Folding
from edge.disconnect import COMPLETED, SHUTDOWN
from edge.transports.encoders import FoldingSseEncoder
from edge.types import Notice
from tests.edge.dialects.folds import EPOCH, records_of, written

PARAMETERS = {"thread": "t", "run": "r1"}
RUN = records_of(
    ("workflow_start", {"incarnation": "x"}),
    ("thinking", {"thought": "hm"}),
    ("token", {"content": "Grüß"}),
    ("state", {"status": "running"}),
    ("tool_use", {"tool_name": "search", "parameters": {"q": "x"}}),
    ("tool_result", {"tool_name": "search", "result": [1]}),
    ("state_snapshot", {"snapshot": {"a": 1}}),
    ("state_delta", {"delta": [{"op": "replace", "path": "/a", "value": 2}]}),
    ("progress", {"progress": 0.5}),
    ("token", {"content": "!"}),
    ("completion", {"success": True}),
)
SAID: list[tuple[int, list[dict[str, Any]]]] = [
    (1, [{"type": "RUN_STARTED", "threadId": "t", "runId": "r1"}]),
    (
        2,
        [
            {"type": "REASONING_START", "messageId": "r1-m1"},
            {"type": "REASONING_MESSAGE_START", "messageId": "r1-m1", "role": "reasoning"},
            {"type": "REASONING_MESSAGE_CONTENT", "messageId": "r1-m1", "delta": "hm"},
        ],
    ),
    (
        3,
        [
            {"type": "REASONING_MESSAGE_END", "messageId": "r1-m1"},
            {"type": "REASONING_END", "messageId": "r1-m1"},
            {"type": "TEXT_MESSAGE_START", "messageId": "r1-m2", "role": "assistant"},
            {"type": "TEXT_MESSAGE_CONTENT", "messageId": "r1-m2", "delta": "Grüß"},
        ],
    ),
    (
        5,
        [
            {"type": "TEXT_MESSAGE_END", "messageId": "r1-m2"},
            {"type": "TOOL_CALL_START", "toolCallId": "e5", "toolCallName": "search"},
            {"type": "TOOL_CALL_ARGS", "toolCallId": "e5", "delta": '{"q":"x"}'},
            {"type": "TOOL_CALL_END", "toolCallId": "e5"},
        ],
    ),
    (6, [{"type": "TOOL_CALL_RESULT", "messageId": "e6-r", "toolCallId": "e5", "content": "[1]", "role": "tool"}]),
    (7, [{"type": "STATE_SNAPSHOT", "snapshot": {"a": 1}}]),
    (8, [{"type": "STATE_DELTA", "delta": [{"op": "replace", "path": "/a", "value": 2}]}]),
    (9, [{"type": "CUSTOM", "name": "progress", "value": {"progress": 0.5}}]),
    (
        10,
        [
            {"type": "TEXT_MESSAGE_START", "messageId": "r1-m3", "role": "assistant"},
            {"type": "TEXT_MESSAGE_CONTENT", "messageId": "r1-m3", "delta": "!"},
        ],
    ),
    (
        11,
        [{"type": "TEXT_MESSAGE_END", "messageId": "r1-m3"}, {"type": "RUN_FINISHED", "threadId": "t", "runId": "r1"}],
    ),
]


def golden() -> bytes:
    said = ""
    for sequence, many in SAID:
        said += "\n\n".join(f"data: {json.dumps(each, ensure_ascii=False, separators=(',', ':'))}" for each in many)
        said += f"\nid: 1-{EPOCH}-{sequence:012x}-{sequence:08x}\n\n"
    return said.encode()


def test_a_run_has_the_bytes_of_the_protocol() -> None:
    assert written(AG_UI, RUN, parameters=PARAMETERS).decode() == golden().decode()


@given(st.integers(0, len(RUN)), st.lists(st.integers(1, 4), max_size=6))
def test_any_cut_and_resume_give_the_same_bytes_behind_the_cut(cut: int, sizes: list[int]) -> None:
    first = written(AG_UI, RUN[:cut], parameters=PARAMETERS)

    assert first + written(AG_UI, RUN, after=cut, sizes=sizes, parameters=PARAMETERS) == golden()


@pytest.mark.parametrize(
    ("end", "types"),
    [
        (
            {"success": True, "result": "all"},
            ["RUN_STARTED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END", "RUN_FINISHED"],
        ),
        ({"success": False, "error": "no key"}, ["RUN_STARTED", "RUN_ERROR"]),
        ({"status": "cancelled"}, ["RUN_STARTED", "CUSTOM", "RUN_FINISHED"]),
    ],
)
def test_a_run_ends_once(end: dict[str, Any], types: list[str]) -> None:
    said = written(AG_UI, records_of(("completion", end)), parameters=PARAMETERS).decode()

    assert [json.loads(line[6:])["type"] for line in said.split("\n") if line.startswith("data: ")] == types


def test_a_connection_that_ends_before_its_run_says_an_error() -> None:
    encoder = FoldingSseEncoder(Folding(AG_UI, PARAMETERS))

    assert encoder.notice(Notice("bye", {"reason": COMPLETED.reason})) == b""
    assert b'"code":"connection_closed"' in encoder.notice(Notice("bye", {"reason": SHUTDOWN.reason}))
