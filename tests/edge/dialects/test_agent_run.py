"""The bytes of the agent-run guide's streams, and that a client that is cut and resumes has what an uninterrupted one has."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.dialects.agent_run import AGENT_RUN
from edge.dialects.folding import Folding
from edge.disconnect import COMPLETED, SHUTDOWN
from edge.transports.folding_encoders import FoldingSseEncoder
from edge.types import Notice
from tests.edge.dialects.folds import EPOCH, records_of, written

RUN = records_of(
    ("workflow_start", {"name": "chat"}),
    ("thinking", {"thought": "hm"}),
    ("token", {"content": "Grüß"}),
    ("streaming_chunk", {"content": " Gott"}),
    ("state", {"status": "running"}),
    ("tool_use", {"tool_name": "search", "parameters": {"q": "x"}}),
    ("tool_result", {"tool_name": "search", "result": [1], "success": True}),
    ("status", {"content": "writing"}),
    ("delta", {"content": "!", "threadId": "t-7", "ts": 12}),
    ("progress", {"progress": 0.5}),
    ("error", {"error": "slow model"}),
    ("completion", {"success": True, "result": "Grüß Gott!"}),
)


def frame(kind: str, content: Any, sequence: int, thread: str = "run-42", ts: int | None = None) -> str:
    said = {
        "type": kind,
        "threadId": thread,
        "content": content,
        "ts": 1_700_000_000_123 + sequence * 1000 if ts is None else ts,
    }
    text = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
    return f"data: {text}\nid: 1-{EPOCH}-{sequence:012x}-{sequence:08x}\n\n"


GOLDEN = "".join(
    (
        frame("status", "processing", 1),
        frame("delta", {"thought": "hm"}, 2),
        frame("token", "Grüß", 3),
        frame("token", " Gott", 4),
        frame("delta", {"tool": "search", "parameters": {"q": "x"}}, 6),
        frame("delta", {"tool": "search", "result": [1], "success": True}, 7),
        frame("status", "writing", 8),
        frame("delta", "!", 9, "t-7", 12),
        frame("status", {"event": "progress", "progress": 0.5}, 10),
        frame("error", "slow model", 11),
        frame("done", {"status": "completed", "success": True, "result": "Grüß Gott!"}, 12),
    )
)


def test_a_run_has_the_bytes_of_the_guide() -> None:
    assert written(AGENT_RUN, RUN).decode() == GOLDEN


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (("completion", {"success": False, "error": "no key"}), ["error", "done"]),
        (("completion", {"success": False, "status": "cancelled"}), ["done"]),
        (("done", {"content": "all of it"}), ["done"]),
        (("workflow_complete", {"parent_id": "step"}), ["status"]),
    ],
)
def test_an_end_is_one_done_and_a_failure_says_why_before_it(end: tuple[str, dict[str, Any]], said: list[str]) -> None:
    made = written(AGENT_RUN, records_of(end)).decode()

    assert [json.loads(line[6:])["type"] for line in made.splitlines() if line.startswith("data: ")] == said
    assert made.count("\nid: ") == 1 and made.rstrip().splitlines()[-1].startswith("id: ")


def test_the_conversation_opens_keeps_alive_and_closes_as_the_guide_says() -> None:
    encoder = FoldingSseEncoder(Folding(AGENT_RUN, {"run": "run-42"}))
    place = {"cursor": "1-5f3a9c1e-000000000001", "server_time": "x"}

    assert encoder.opening == b""
    assert encoder.notice(Notice("ready", place)) == b"event: open\ndata: {}\n\n"
    assert encoder.notice(Notice("heartbeat", place)) == encoder.notice(Notice("position", place)) == b":keepalive\n\n"
    assert encoder.notice(Notice("bye", {"reason": COMPLETED.reason})) == b"event: close\ndata: {}\n\n"
    assert encoder.notice(Notice("bye", {"reason": SHUTDOWN.reason})) == b""
    gap = encoder.notice(Notice("gap", {"reason": "beyond_retention", "cursor": "x"}))
    assert gap.startswith(b"event: gap\ndata: ") and b"\nid:" not in gap
    assert dict(AGENT_RUN.headers) == {
        b"content-type": b"text/event-stream", b"cache-control": b"no-cache, no-transform", b"connection": b"keep-alive",
        b"x-accel-buffering": b"no",
    }  # fmt: skip


@given(st.integers(0, len(RUN)), st.lists(st.integers(1, 4), max_size=6), st.lists(st.integers(1, 4), max_size=6))
def test_any_cut_and_resume_give_the_same_bytes_behind_the_cut(cut: int, before: list[int], sizes: list[int]) -> None:
    first = written(AGENT_RUN, RUN[:cut], sizes=before)

    assert first + written(AGENT_RUN, RUN, after=cut, sizes=sizes) == GOLDEN.encode()
