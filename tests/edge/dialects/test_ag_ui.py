"""The bytes of AG-UI: a run that begins and ends, messages that are closed, tools by one id, and resuming in the middle.

Runs of every kind are put before two judges of others: `ag-ui-validate`, which knows the protocol's rules of order, and the models
of `ag-ui-protocol`, which know the fields of each event.
"""

from __future__ import annotations

import json
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.dialects.ag_ui import AG_UI, TANSTACK
from edge.dialects.dialect import FoldedDialect
from edge.dialects.folding import Folding
from edge.disconnect import COMPLETED, SHUTDOWN
from edge.transports.folding_encoders import FoldingSseEncoder
from edge.types import Batch, Notice
from tests.edge.dialects.folds import EPOCH, records_of, written

PARAMETERS = {"thread": "t", "run": "r1"}
RUN = records_of(
    ("workflow_start", {"incarnation": "x"}),
    ("thinking", {"thought": "hm"}),
    ("token", {"content": "Grüß"}),
    ("message_added", {"role": "user", "content": "hi"}),
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
            {"type": "REASONING_START", "messageId": "x-m1"},
            {"type": "REASONING_MESSAGE_START", "messageId": "x-m1", "role": "reasoning"},
            {"type": "REASONING_MESSAGE_CONTENT", "messageId": "x-m1", "delta": "hm"},
        ],
    ),
    (
        3,
        [
            {"type": "REASONING_MESSAGE_END", "messageId": "x-m1"},
            {"type": "REASONING_END", "messageId": "x-m1"},
            {"type": "TEXT_MESSAGE_START", "messageId": "x-m2", "role": "assistant"},
            {"type": "TEXT_MESSAGE_CONTENT", "messageId": "x-m2", "delta": "Grüß"},
        ],
    ),
    (
        5,
        [
            {"type": "TEXT_MESSAGE_END", "messageId": "x-m2"},
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
            {"type": "TEXT_MESSAGE_START", "messageId": "x-m3", "role": "assistant"},
            {"type": "TEXT_MESSAGE_CONTENT", "messageId": "x-m3", "delta": "!"},
        ],
    ),
    (
        11,
        [{"type": "TEXT_MESSAGE_END", "messageId": "x-m3"}, {"type": "RUN_FINISHED", "threadId": "t", "runId": "r1"}],
    ),
]


def golden() -> bytes:
    said = ""
    for sequence, many in SAID:
        for place, each in enumerate(many, 1):
            said += f"data: {json.dumps(each, ensure_ascii=False, separators=(',', ':'))}\n"
            said += f"id: 1-{EPOCH}-{sequence:012x}-{sequence:08x}{'' if place == len(many) else f'.{place}'}\n\n"
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
    assert [each["type"] for each in events_of(("completion", end))] == types


def events_of(*events: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    said = written(AG_UI, records_of(*events), parameters=PARAMETERS).decode()
    return [json.loads(line[6:]) for line in said.split("\n") if line.startswith("data: ")]


START: tuple[str, dict[str, Any]] = ("workflow_start", {"incarnation": "x"})
OK: tuple[str, dict[str, Any]] = ("completion", {"success": True})
A: tuple[str, dict[str, Any]] = ("token", {"content": "a"})
STEP = "workflow_step"
RUNS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "empty": [START, OK],
    "text": [START, ("token", {"content": ""}), A, A, OK],
    "without a start": [A, OK],
    "a conversation": [("done", {"content": "a"})],
    "not streamed": [START, ("completion", {"success": True, "result": "all"})],
    "reasoning": [START, ("thinking", {"thought": "hm"}), A, ("thinking", {"thought": "hm"}), OK],
    "tools": [
        START,
        A,
        ("tool_use", {"tool_name": "s", "parameters": {"q": "x"}}),
        ("tool_use", {"tool_name": "s"}),
        ("tool_result", {"tool_name": "s", "result": {"rows": [1]}}),
        ("tool_result", {"tool_name": "s", "success": False, "error": "no"}),
        ("tool_result", {"tool_name": "never used", "result": None}),
        A,
        OK,
    ],
    "a tool without a result": [START, ("tool_use", {"tool_name": "s"}), OK],
    "steps": [
        START,
        (STEP, {"step": "one", "status": "started"}),
        A,
        (STEP, {"step": "one", "status": "started"}),
        (STEP, {"step": "two", "status": "started"}),
        (STEP, {"step": "one", "status": "completed"}),
        (STEP, {"step": "one", "status": "completed"}),
        (STEP, {"step": "three", "status": "failed"}),
        OK,
    ],
    "a step that is open when it fails": [START, (STEP, {"step": "one", "status": "started"}), ("completion", {"success": False})],
    "state": [
        START,
        ("state_snapshot", {"snapshot": {"a": 1}}),
        ("state_delta", {"delta": [{"op": "replace", "path": "/a", "value": 2}, {"op": "copy", "from": "/a", "path": "/b"}]}),
        ("state_snapshot", {"a": 3}),
        OK,
    ],
    "changes that are none": [
        START,
        ("state_snapshot", {"snapshot": {"a": 1}}),
        *(
            ("state_delta", {"delta": delta})
            for delta in ({"a": 2}, [1], [{"op": "set", "path": "/a"}], [{"op": "add", "path": "/a"}], [{"op": "remove"}])
        ),
        ("state_delta", {"delta": [{"op": "move", "path": "/a"}]}),
        ("state_delta", {"delta": [{"op": "add", "path": "a", "value": 1}]}),
        OK,
    ],
    "what it has no word for": [START, ("progress", {"progress": 0.5}), ("log", {"message": "l"}), ("metric", {"rows": 5}), OK],
    "an error that it survives": [START, ("error", {"error": "x"}), OK],
    "an error": [START, A, ("error", {"error": "x"}), ("completion", {"success": False, "error": "x"})],
    "cancelled": [START, A, ("stopping", {}), ("completion", {"success": False, "status": "cancelled"})],
    "resumed": [START, A, ("workflow_start", {"incarnation": "y", "resumed": True}), A, OK],
}  # fmt: skip


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_a_run_of_any_kind_is_valid_to_the_protocol_s_own_judges(run: list[tuple[str, dict[str, Any]]]) -> None:
    rules = pytest.importorskip("ag_ui_validate.pytest_plugin", reason="ag-ui-validate is not installed")
    models = pytest.importorskip("ag_ui.core", reason="ag-ui-protocol is not installed")
    said = events_of(*run)

    report = rules.validate_agui(said)

    assert [each.message for each in report.diagnostics if each.severity != "info"] == report.internal_errors == []
    for each in said:
        # What the models do not know they keep apart.
        assert not pydantic.TypeAdapter(models.Event).validate_python(each).model_extra


def test_all_readers_of_a_run_know_a_message_by_one_id_whatever_they_call_the_run() -> None:
    named, joined = (
        written(AG_UI, RUN, parameters=parameters).decode() for parameters in (PARAMETERS, {"thread": "t"})
    )

    assert named != joined == named.replace('"runId":"r1"', '"runId":"x"')


def test_tanstack_reads_an_id_before_its_data_and_of_a_connection_that_is_closed_nothing() -> None:
    said = written(TANSTACK, RUN[:3], parameters=PARAMETERS).decode()
    encoder = FoldingSseEncoder(Folding(TANSTACK, PARAMETERS))

    assert said.startswith(f'id: 1-{EPOCH}-000000000001-00000001\ndata: {{"type":"RUN_STARTED"')
    text = f'\n\nid: 1-{EPOCH}-000000000003-00000003\ndata: {{"type":"TEXT_MESSAGE_CONTENT","messageId":"x-m2"'
    assert text in said and said.endswith("}\n\n")
    assert encoder.notice(Notice("bye", {"reason": SHUTDOWN.reason})) == b""
    assert b'"CUSTOM"' in _begun(TANSTACK).notice(Notice("gap", {"reason": "expired"}))


def _begun(dialect: FoldedDialect) -> FoldingSseEncoder:
    encoder = FoldingSseEncoder(Folding(dialect, PARAMETERS))
    encoder.encode(Batch(RUN[:1], EPOCH))
    return encoder


def test_a_connection_that_ends_before_its_run_says_an_error() -> None:
    encoder = FoldingSseEncoder(Folding(AG_UI, PARAMETERS))

    assert encoder.notice(Notice("bye", {"reason": COMPLETED.reason})) == b""
    assert b'"code":"connection_closed"' in encoder.notice(Notice("bye", {"reason": SHUTDOWN.reason}))
