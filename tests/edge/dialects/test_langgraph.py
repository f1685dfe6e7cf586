"""The bytes of LangGraph's runs API in each stream mode, messages that are joined by their ids, and resuming in the middle."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.dialects import langgraph
from edge.dialects.folding import Folding
from edge.dialects.langgraph import LANGGRAPH, MODES, Pieces
from edge.disconnect import COMPLETED, SHUTDOWN
from edge.transports.folding_encoders import FoldingSseEncoder
from edge.types import Notice
from tests.edge.dialects.folds import EPOCH, records_of, written

HISTORY = '{"type":"human","id":"h0","content":"before"}'
PARAMETERS = {"thread": "t", "run": "r", "modes": ",".join(MODES), "history": HISTORY, "known": "h0"}
AGENT = {"langgraph_node": "agent", "run_id": "r", "thread_id": "t"}
TOOLS = {**AGENT, "langgraph_node": "tools"}
RUN = records_of(
    ("workflow_start", {"incarnation": "r"}),
    ("message_added", {"role": "user", "content": "before", "id": "h0", "incarnation": "r"}),
    ("message_added", {"role": "user", "content": "hi", "id": "h1", "incarnation": "r"}),
    ("thinking", {"thought": "hm"}),
    ("token", {"content": "Grüß"}),
    ("state", {"status": "running"}),
    ("token", {"content": " Gott"}),
    ("tool_use", {"tool_name": "search", "parameters": {"q": "x"}}),
    ("tool_result", {"tool_name": "search", "result": [1]}),
    ("token", {"content": "!"}),
    ("completion", {"success": True, "result": {"rows": 5}}),
    subject="thread.t",
)


def chunk(id: str, content: str, *calls: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "AIMessageChunk", "id": id, "content": content, "tool_call_chunks": list(calls), "tool_calls": [],
        "invalid_tool_calls": [], "additional_kwargs": {}, "response_metadata": {},
    }  # fmt: skip


def said(id: str, content: str, *calls: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "ai", "id": id, "content": content, "tool_calls": list(calls), "invalid_tool_calls": [],
        "additional_kwargs": {}, "response_metadata": {},
    }  # fmt: skip


BEFORE = [json.loads(HISTORY), {"type": "human", "id": "h1", "content": "hi"}]
CALL = {"type": "tool_call", "id": "e8", "name": "search", "args": {"q": "x"}}
CALL_CHUNK = {"type": "tool_call_chunk", "id": "e8", "name": "search", "args": '{"q":"x"}', "index": 0}
FIRST, SECOND = said("r-0", "Grüß Gott", CALL), said("r-1", "!")
RESULT = {
    "type": "tool", "id": "e9-r", "content": "[1]", "tool_call_id": "e8", "name": "search", "status": "success",
}  # fmt: skip
# By sequence: the parts, each with the mode that it belongs to.
SAID: list[tuple[int, list[tuple[str, str, Any]]]] = [
    (
        1,
        [
            ("", "metadata", {"run_id": "r", "thread_id": "t", "attempt": 1}),
            ("values", "values", {"messages": BEFORE[:1]}),
        ],
    ),
    (3, [("values", "values", {"messages": BEFORE})]),
    (4, [("custom", "custom", {"type": "thinking", "data": {"thought": "hm"}})]),
    (
        5,
        [
            ("messages", "messages/metadata", {"r-0": {"metadata": AGENT}}),
            ("messages-tuple", "messages", [chunk("r-0", "Grüß"), AGENT]),
            ("messages", "messages/partial", [said("r-0", "Grüß")]),
        ],
    ),
    (
        7,
        [
            ("messages-tuple", "messages", [chunk("r-0", " Gott"), AGENT]),
            ("messages", "messages/partial", [said("r-0", "Grüß Gott")]),
        ],
    ),
    (
        8,
        [
            ("messages-tuple", "messages", [chunk("r-0", "", CALL_CHUNK), AGENT]),
            ("messages", "messages/partial", [FIRST]),
            ("tools", "tools", {"event": "on_tool_start", "toolCallId": "e8", "name": "search", "input": {"q": "x"}}),
        ],
    ),
    (
        9,
        [
            ("messages", "messages/complete", [FIRST]),
            ("updates", "updates", {"agent": {"messages": [FIRST]}}),
            ("messages-tuple", "messages", [RESULT, TOOLS]),
            ("updates", "updates", {"tools": {"messages": [RESULT]}}),
            ("tools", "tools", {"event": "on_tool_end", "output": [1], "toolCallId": "e8", "name": "search"}),
            ("values", "values", {"messages": [*BEFORE, FIRST, RESULT]}),
        ],
    ),
    (
        10,
        [
            ("messages", "messages/metadata", {"r-1": {"metadata": AGENT}}),
            ("messages-tuple", "messages", [chunk("r-1", "!"), AGENT]),
            ("messages", "messages/partial", [SECOND]),
        ],
    ),
    (
        11,
        [
            ("messages", "messages/complete", [SECOND]),
            ("updates", "updates", {"agent": {"messages": [SECOND]}}),
            ("values", "values", {"messages": [*BEFORE, FIRST, RESULT, SECOND], "result": {"rows": 5}}),
            ("", "end", None),
        ],
    ),
]


def golden(modes: frozenset[str] = MODES) -> bytes:
    text = ""
    for sequence, many in SAID:
        parts = [
            f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}"
            for mode, name, data in many
            if mode in modes or not mode
        ]
        for place, part in enumerate(parts, 1):
            behind = "" if place == len(parts) else f".{place}"
            text += f"{part}\nid: 1-{EPOCH}-{sequence:012x}-{sequence:08x}{behind}\n\n"
    return text.encode()


@pytest.mark.parametrize(
    "modes", [MODES, *(frozenset({mode}) for mode in sorted(MODES))], ids=lambda modes: "+".join(sorted(modes))
)
def test_a_run_has_the_bytes_of_its_stream_modes(modes: frozenset[str]) -> None:
    parameters = {**PARAMETERS, "modes": ",".join(modes)}

    assert written(LANGGRAPH, RUN, parameters=parameters).decode() == golden(modes).decode()


@given(st.integers(0, len(RUN)), st.lists(st.integers(1, 4), max_size=6))
def test_any_cut_and_resume_give_the_same_bytes_behind_the_cut(cut: int, sizes: list[int]) -> None:
    first = written(LANGGRAPH, RUN[:cut], parameters=PARAMETERS)

    assert first + written(LANGGRAPH, RUN, after=cut, sizes=sizes, parameters=PARAMETERS) == golden()


def named(text: bytes) -> list[str]:
    return [line[7:] for line in text.decode().split("\n") if line.startswith("event: ")]


def data_of(text: bytes, name: str) -> list[Any]:
    lines = text.decode().split("\n")
    return [json.loads(lines[at + 1][6:]) for at, line in enumerate(lines) if line == f"event: {name}"]


@pytest.mark.parametrize(
    ("end", "names"),
    [
        ({"success": True, "result": "all"}, ["metadata", "values", "messages", "values", "end"]),
        (
            {"success": False, "error": "KeyError: no key", "error_type": "KeyError"},
            ["metadata", "values", "values", "error"],
        ),
        ({"status": "cancelled"}, ["metadata", "values", "values", "end"]),
    ],
)
def test_a_run_ends_once(end: dict[str, Any], names: list[str]) -> None:
    text = written(
        LANGGRAPH, records_of(("completion", end)), parameters={**PARAMETERS, "modes": "messages-tuple,values"}
    )

    assert named(text) == names
    assert data_of(text, "error") == ([{"error": "KeyError", "message": "no key"}] if "error" in names else [])


def test_a_turn_that_the_next_one_supersedes_ends() -> None:
    begun = records_of(
        ("workflow_start", {"incarnation": "r"}), ("workflow_start", {"incarnation": "r2", "resumed": True}),
        ("workflow_start", {"incarnation": "s"}),
    )  # fmt: skip

    assert named(written(LANGGRAPH, begun, parameters={**PARAMETERS, "modes": ""})) == ["metadata", "end"]


def test_a_result_without_a_use_gets_one_and_a_tool_that_failed_says_so() -> None:
    text = written(
        LANGGRAPH,
        records_of(("tool_result", {"tool_name": "search", "success": False, "error": "timeout"})),
        parameters={**PARAMETERS, "modes": "messages-tuple,tools"},
    )

    (call, _), (result, _) = data_of(text, "messages")
    assert call["tool_call_chunks"][0]["id"] == result["tool_call_id"]
    assert (result["status"], result["content"]) == ("error", "timeout")
    assert [each["event"] for each in data_of(text, "tools")] == ["on_tool_start", "on_tool_error"]


def test_a_connection_that_ends_before_its_run_says_nothing() -> None:
    encoder = FoldingSseEncoder(Folding(LANGGRAPH, PARAMETERS))

    assert encoder.notice(Notice("bye", {"reason": COMPLETED.reason})) == b""
    assert encoder.notice(Notice("bye", {"reason": SHUTDOWN.reason})) == b""
    assert b'"type":"gap"' in encoder.notice(Notice("gap", {"reason": "foreign_cursor"}))


def test_a_turn_that_says_too_much_to_be_repeated_is_still_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(langgraph, "MAX_KEPT", 10)
    told = records_of(*[("token", {"content": "12345"})] * 4, ("completion", {"success": True}))

    text = written(LANGGRAPH, told, parameters={**PARAMETERS, "modes": "messages-tuple,values"})

    assert named(text) == ["metadata", "values", *["messages"] * 4, "end"]


def test_the_pieces_of_a_text_are_equal_where_the_text_is_made_alike() -> None:
    one, two = Pieces("a"), Pieces("a")
    for _ in range(20_000):
        one, two = Pieces("b", one), Pieces("b", two)

    assert one == two and hash(one) == hash(two)
    assert one != Pieces("c", two) and one != "ab"
    assert one.text == "a" + "b" * 20_000


SAYS = st.sampled_from(
    [
        ("token", {"content": "a"}), ("token", {"content": ""}), ("delta", {"delta": "ü"}), ("thinking", {"thought": "t"}),
        ("tool_use", {"tool_name": "one", "parameters": {"q": "x"}}), ("tool_use", {"tool_name": "two"}),
        ("tool_result", {"tool_name": "one", "result": [1]}), ("tool_result", {"tool_name": "two", "error": "no"}),
        ("message_added", {"role": "user", "content": "hi"}), ("message_added", {"role": "assistant", "content": "yo"}),
        ("workflow_start", {"incarnation": "s", "resumed": True}), ("progress", {"progress": 0.5}), ("state", {"status": "running"}),
    ]
)  # fmt: skip
ENDS = st.sampled_from(
    [{"success": True}, {"success": True, "result": "all"}, {"success": False, "error": "e"}, {"status": "cancelled"}]
)


@given(st.lists(SAYS, max_size=12), ENDS, st.data())
def test_whatever_is_said_chunks_make_the_messages_of_the_values_and_a_cut_changes_nothing(
    told: list[tuple[str, Any]], end: dict[str, Any], data: st.DataObject
) -> None:
    run = records_of(("workflow_start", {"incarnation": "r"}), *told, ("completion", end), subject="thread.t")
    parameters = {**PARAMETERS, "modes": "values,messages-tuple,updates"}
    text = written(LANGGRAPH, run, parameters=parameters)
    cut = data.draw(st.integers(0, len(run)))

    joined: dict[str, dict[str, Any]] = {}
    for message, _ in data_of(text, "messages"):
        former = joined.setdefault(message["id"], {**message, "content": "", "calls": []})
        former["content"] += message["content"]
        former["calls"] += [call["id"] for call in message.get("tool_call_chunks", ())]
    whole = [each for each in data_of(text, "values")[-1]["messages"] if each["type"] != "human"]
    updated = [each for update in data_of(text, "updates") for node in update.values() for each in node["messages"]]
    assert [(each["id"], each["content"]) for each in whole] == [(id, each["content"]) for id, each in joined.items()]
    assert [[call["id"] for call in each.get("tool_calls", ())] for each in whole] == [
        each["calls"] for each in joined.values()
    ]
    assert updated == whole
    assert named(text)[-1] == ("error" if end.get("error") else "end") and named(text).count("metadata") == 1
    first = written(LANGGRAPH, run[:cut], parameters=parameters)
    assert first + written(LANGGRAPH, run, after=cut, parameters=parameters) == text
