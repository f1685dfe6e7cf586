"""Tests that the Python can be imported, and says what is required."""

from __future__ import annotations

import subprocess
import sys
import types
import typing
from pathlib import Path
from typing import Any

from ops.types.python import python
from router.catalogue import EventType, all_types
from tests.ops.types.test_shapes import ORDER

ODD = EventType(
    "odd",
    'Ends with a "quote"',
    json_schema={"type": "object", "required": ["from"], "properties": {"from": {"type": "string"}, "a-b": {}}},
)


def imported(*more: EventType) -> Any:
    module = types.ModuleType("events")
    exec(compile(python((*all_types(), *more)), "events.py", "exec", dont_inherit=True), module.__dict__)
    return module


def test_every_type_is_a_typed_dict_with_its_required_fields() -> None:
    events = imported(ORDER, ODD)

    assert events.ToolUseData.__required_keys__ == {"tool_name"}
    assert "progress" in events.ProgressData.__optional_keys__
    assert events.OddData.__required_keys__ == {"from"}
    hints = typing.get_type_hints(events.PlacedEvent, vars(events))
    assert hints["event_type"] == typing.Literal["placed"] and hints["data"] is events.OrdersPlacedData
    assert len(typing.get_args(events.KnownEvent)) == len({each.name for each in (*all_types(), ORDER, ODD)})


def test_a_strict_type_checker_tells_the_events_apart(tmp_path: Path) -> None:
    (tmp_path / "events.py").write_text(python((*all_types(), ORDER, ODD)))
    (tmp_path / "use.py").write_text(
        "from events import KnownEvent, LiveMetricUpdateEvent\n\n\n"
        "def value(event: KnownEvent) -> float:\n"
        '    if event["event_type"] == "live_metric_update":\n'
        "        reveal: LiveMetricUpdateEvent = event\n"
        '        return reveal["data"]["value"]\n'
        "    return 0.0\n"
    )
    said = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(tmp_path / "c"), "use.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert said.stdout == "" and said.returncode == 0
