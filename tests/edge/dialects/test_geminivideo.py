"""The bytes of the real-time guide's streams: shapes, the end that its hooks close on, and resuming in the middle."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.dialects.dialect import FoldedDialect
from edge.dialects.folding import Folding
from edge.dialects.geminivideo import COUNCIL, ENTITY, EVALUATION, RENDER_PROGRESS
from edge.disconnect import COMPLETED, ROTATED, SHUTDOWN
from edge.transports.encoders import SseEncoder
from edge.transports.folding_encoders import FoldingSseEncoder
from edge.types import Batch, Notice
from tests.edge.dialects.folds import EPOCH, records_of, written

JOB = "job.run-42"


def frames(said: bytes) -> list[tuple[str, dict[str, Any]]]:
    """The name and data of each event."""
    found = []
    for part in said.decode().removesuffix("\n\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in part.split("\n"))
        found.append((fields.get("event", "message"), json.loads(fields["data"])))
    return found


def test_a_render_has_the_guide_s_bytes_and_its_complete_behind_the_last_progress() -> None:
    records = records_of(
        ("video_render_progress", {"currentFrame": 500, "totalFrames": 1000, "progress": 0.5, "fps": 30, "stage": "rendering"}),
        ("state", {"status": "running", "progress": 0.5}),
        ("video_render_progress", {"jobId": "run-42", "progress": 1, "stage": "complete"}),
        subject=JOB,
    )  # fmt: skip

    assert written(RENDER_PROGRESS, records).decode() == (
        'data: {"jobId":"run-42","timestamp":"2023-11-14T22:13:21.123456Z","id":"e1","currentFrame":500,"totalFrames":1000,'
        '"progress":0.5,"fps":30,"stage":"rendering","type":"video_render_progress"}\n'
        f"id: 1-{EPOCH}-000000000001-00000001\n\n"
        'data: {"jobId":"run-42","timestamp":"2023-11-14T22:13:23.123456Z","id":"e3","progress":1,"stage":"complete",'
        '"type":"video_render_progress"}\n\n'
        'event: complete\ndata: {"type":"complete","data":{"jobId":"run-42","status":"completed"},'
        '"timestamp":"2023-11-14T22:13:23.123456Z"}\n'
        f"id: 1-{EPOCH}-000000000003-00000003\n\n"
    )


def state(progress: float, current: int, eta: int) -> tuple[str, dict[str, Any]]:
    steps = {"current": current, "total": 20}
    return "state", {
        "status": "running", "progress": progress, "steps": steps, "rate": 2.5, "eta_seconds": eta, "stage": "draw",
    }  # fmt: skip


STATES = records_of(
    ("workflow_start", {}),
    state(0.25, 5, 6),
    ("progress", {"progress": 0.5}),
    state(0.5, 10, 4),
    ("completion", {"success": True}),
    subject=JOB,
)


def test_a_job_without_frames_of_its_own_is_shown_by_its_state_and_ends_at_one() -> None:
    (_, first), (_, second), (_, last), (name, end) = frames(written(RENDER_PROGRESS, STATES))

    assert (first["currentFrame"], first["totalFrames"], first["fps"], first["estimatedTimeRemaining"]) == (
        5,
        20,
        2.5,
        6,
    )
    assert (second["progress"], second["status"], second["stage"]) == (0.5, "processing", "draw")
    assert (last["progress"], last["stage"], last["currentFrame"], last["type"]) == (
        1, "complete", 20, "video_render_progress",
    )  # fmt: skip
    assert (name, end["data"]) == ("complete", {"jobId": "run-42", "status": "completed"})


@pytest.mark.parametrize(
    ("data", "error"),
    [({"success": False, "error": "no disk"}, "no disk"), ({"status": "cancelled"}, "cancelled"), ({"success": False}, "failed")],
)  # fmt: skip
def test_a_job_that_did_not_complete_ends_with_an_error(data: dict[str, Any], error: str) -> None:
    said = frames(written(RENDER_PROGRESS, records_of(("completion", data), subject=JOB)))

    assert [(name, body["error"]) for name, body in said] == [("error", error)]


@pytest.mark.parametrize(
    ("dialect", "events", "data"),
    [
        (
            COUNCIL,
            [
                ("council_score_stream", {"stage": "gemini", "model": "gemini", "thinking": "hm", "isComplete": False}),
                ("council_score_stream", {"stage": "complete", "finalScore": {"composite": 0.8}, "isComplete": True}),
            ],
            {"composite": 0.8},
        ),
        (
            EVALUATION,
            [
                ("ai_evaluation_stream", {"chunk": "good"}),
                ("ai_evaluation_stream", {"chunk": ".", "isComplete": True}),
            ],
            None,
        ),
    ],
)
def test_an_evaluation_is_passed_on_and_completed(
    dialect: FoldedDialect, events: list[tuple[str, dict[str, Any]]], data: Any
) -> None:
    said = frames(written(dialect, records_of(("workflow_start", {}), *events)))

    assert [(name, body["type"]) for name, body in said] == [
        ("message", events[0][0]), ("message", events[0][0]), ("complete", "complete")
    ]  # fmt: skip
    assert said[-1][1]["data"] == data


def test_an_event_of_an_entity_is_encoded_once_for_all_readers() -> None:
    metrics = {"campaignId": "c", "metrics": {"clicks": 5}, "change": {"clicks": 1}}
    (record,) = records_of(("campaign_metrics", metrics), subject="metric.c")

    made = SseEncoder(ENTITY).encode(Batch([record], EPOCH))

    assert made.decode() == (
        'data: {"timestamp":"2023-11-14T22:13:21.123456Z","id":"e1","campaignId":"c","metrics":{"clicks":5},'
        f'"change":{{"clicks":1}},"type":"campaign_metrics"}}\nid: 1-{EPOCH}-000000000001-00000001\n\n'
    )
    assert ENTITY.encode(record, EPOCH) is ENTITY.encode(record, EPOCH)


def test_the_conversation_has_the_guide_s_words() -> None:
    encoder = FoldingSseEncoder(Folding(RENDER_PROGRESS, {"run": "j"}))

    connected = encoder.notice(Notice("ready", {"server_time": "now", "cursor": "c"}))

    assert re.fullmatch(
        rb'data: {"type":"connected","message":"SSE connection established","clientId":"sse_\w{12}","timestamp":"now"}\n\n',
        connected,
    )
    assert encoder.notice(Notice("heartbeat", {})) == b": keep-alive\n\n"
    assert b'"type":"server_shutdown"' in encoder.notice(Notice("bye", {"reason": SHUTDOWN.reason}))
    assert {encoder.notice(Notice("bye", {"reason": reason.reason})) for reason in (COMPLETED, ROTATED)} == {b""}


@given(st.integers(0, len(STATES)), st.lists(st.integers(1, 3), max_size=4))
def test_any_cut_and_resume_give_the_same_bytes_behind_the_cut(cut: int, sizes: list[int]) -> None:
    whole = written(RENDER_PROGRESS, STATES)

    assert written(RENDER_PROGRESS, STATES[:cut]) + written(RENDER_PROGRESS, STATES, after=cut, sizes=sizes) == whole
