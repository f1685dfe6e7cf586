"""Tests of router/sdk/emitter.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from router.codec import decode
from router.errors import BadEvent
from router.event import Event
from router.sdk import RunOver, RunSettings, RunStopped
from router.sdk.emitter import Emitter
from router.sdk.encoder import RunEncoder
from router.sdk.outbox import RunOutbox
from router.sdk.queued import Kind
from router.sdk.spool import SpoolFile, new_header


def emitter(folder: Path, **settings: Any) -> tuple[Emitter, RunOutbox]:
    encoder = RunEncoder("agent", "one", "sdk")
    chosen = RunSettings(**settings)
    box = RunOutbox(chosen, lambda: SpoolFile.create(folder, new_header(encoder.life, "")), lambda: None)
    made = Emitter(encoder, box, chosen, lambda: None)
    made.start({"name": "One"})
    return made, box


def told(box: RunOutbox) -> list[Event]:
    return [decode(item.payload) for item in box.take(1000, 10**9)]


def test_steps_and_tools_name_their_parent_their_time_and_what_they_used(tmp_path: Path) -> None:
    made, box = emitter(tmp_path)

    with made.step("fetch", stage="data") as step:
        with made.tool("search", {"q": "x"}) as call:
            made.chunk("within")
            call.tokens_used, call.cost, call.result = 5, 0.25, "found"
        step.tokens_used = 2
    made.finish(None, False)

    start, began, used, text, gave, ended, end = told(box)
    assert began.data == {"step": "fetch", "status": "started", "span": step.span, "stage": "data"}
    assert used.data["parent"] == step.span and text.data == {"content": "within", "parent": call.span}
    assert gave.data | {"execution_time": 0} == {
        "tool_name": "search", "result": "found", "success": True, "span": call.span, "parent": step.span,
        "execution_time": 0, "tokens_used": 5, "cost": 0.25,
    }  # fmt: skip
    assert gave.cause == used.id and ended.cause == began.id
    assert ended.data["status"] == "completed" and ended.data["duration"] >= gave.data["execution_time"]
    assert (end.data["tokens_used"], end.data["cost"]) == (7, 0.25)
    assert end.data["incarnation"] == start.data["incarnation"]


def test_a_step_that_fails_says_so(tmp_path: Path) -> None:
    made, box = emitter(tmp_path)

    with pytest.raises(LookupError), made.step("fetch"):
        raise LookupError("gone")

    assert told(box)[-1].data | {"duration": 0, "span": ""} == {
        "step": "fetch", "status": "failed", "span": "", "duration": 0, "error": "gone", "error_type": "LookupError",
    }  # fmt: skip


def test_progress_never_goes_back_within_a_life_or_into_the_next(tmp_path: Path) -> None:
    made, box = emitter(tmp_path, progress_interval=0.0)

    for share in (0.2, 0.6, 0.4):
        made.progress(share)
    made.resumed_start()
    made.progress(0.1)

    assert [event.data.get("progress") for event in told(box)] == [None, 0.2, 0.6, 0.6, 0.6]


def test_a_progress_that_could_not_be_stored_is_refused_to_its_caller(tmp_path: Path) -> None:
    made, _ = emitter(tmp_path, progress_interval=60.0)
    loop: dict[str, Any] = {}
    loop["self"] = loop

    for more in ({"message": "\ud800"}, {"context": loop}):
        with pytest.raises(BadEvent):
            made.progress(0.5, **more)


def test_another_incarnation_begins_as_a_run_that_goes_on(tmp_path: Path) -> None:
    made, box = emitter(tmp_path)
    first = told(box)[0].data["incarnation"]

    start = made.resumed_start()
    made.complete({"success": True})

    (end,) = box.take(10, 10**9)[1:]
    assert start.kind is Kind.START and end.kind is Kind.END
    data = decode(start.payload).data
    assert data["resumed"] is True and data["name"] == "One" and data["incarnation"] != first
    assert decode(end.payload).data["incarnation"] == data["incarnation"]
    with pytest.raises(RunOver):
        made.emit("noted")


def test_what_was_dropped_is_told_in_the_completion(tmp_path: Path) -> None:
    made, box = emitter(tmp_path, capacity=2, spool=False)
    for n in range(5):
        made.emit("noted", {"n": n})
    made.complete({"success": True})

    assert told(box)[-1].data["events_dropped"] == 4


def test_a_figure_is_a_metric_of_the_run(tmp_path: Path) -> None:
    made, box = emitter(tmp_path)
    made.metric("loss", 0.25, epoch=3)

    assert told(box)[-1].data == {"name": "loss", "value": 0.25, "epoch": 3}


def test_a_program_that_asked_for_it_is_stopped_by_what_it_says_next(tmp_path: Path) -> None:
    made, box = emitter(tmp_path, raise_on_stop=True)

    with pytest.raises(RunStopped), made.step("fetch"):
        made.stop("too dear")
        for say in (lambda: made.chunk("x"), lambda: made.emit("noted"), lambda: made.tool("search").__enter__()):
            with pytest.raises(RunStopped):
                say()
        made.progress(0.5)
    made.finish(RunStopped(), True)

    events = told(box)
    assert [event.type for event in events] == [
        "workflow_start", "workflow_step", "stopping", "workflow_step", "completion",
    ]  # fmt: skip
    assert events[2].data["reason"] == "too dear"
    assert (events[3].data["status"], events[-1].data["status"]) == ("failed", "cancelled")


def test_a_program_that_did_not_ask_for_it_goes_on_after_a_stop(tmp_path: Path) -> None:
    made, box = emitter(tmp_path)

    made.stop(None)
    made.emit("noted")
    made.complete({"success": True})

    assert [event.type for event in told(box)] == ["workflow_start", "stopping", "noted", "completion"]
