"""The state of a fold does not grow with its run: there is one for each reader that is by itself."""

from __future__ import annotations

import gc
import sys
from itertools import cycle, islice
from types import FunctionType, ModuleType

import pytest

from edge.dialects import langgraph
from edge.dialects.dialect import FoldedDialect
from edge.dialects.folding import Folding
from edge.dialects.table import DIALECTS
from tests.edge.dialects.folds import EPOCH, records_of

FOLDED = [each for each in DIALECTS.values() if isinstance(each, FoldedDialect)]
PARAMETERS = {"run": "r", "thread": "t", "modes": "values,messages-tuple,messages,updates,custom,tools"}
TEXT = "x" * 200
EVENTS = 1_000
# What an open message and 64 open uses of tools are, and more.
MAX_BYTES = 64 * 1024


def weigh(state: object) -> int:
    """Bytes of all that a state holds."""
    seen: dict[int, object] = {}
    left = [state]
    while left:
        each = left.pop()
        if id(each) in seen or isinstance(each, (type, ModuleType, FunctionType)):
            continue
        seen[id(each)] = each
        left += gc.get_referents(each)
    return sum(map(sys.getsizeof, seen.values()))


@pytest.mark.parametrize("dialect", FOLDED, ids=lambda dialect: dialect.name)
def test_a_run_that_goes_on_and_on_is_folded_into_little(
    dialect: FoldedDialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(langgraph, "MAX_KEPT", MAX_BYTES // 4)
    folding = Folding(dialect, PARAMETERS)

    for record in records_of(("workflow_start", {"incarnation": "a"}), subject="thread.t"):
        folding.take(record, EPOCH)
    for n, kind in islice(
        enumerate(cycle(["tool", "token", "thinking", "step", "message", "result", "render"])), EVENTS
    ):
        said = {
            "tool": ("tool_use", {"tool_name": f"tool-{n}", "parameters": {"q": TEXT}}),
            "token": ("token", {"content": TEXT}),
            "thinking": ("thinking", {"thought": TEXT}),
            "step": ("workflow_step", {"step": f"step-{n}", "status": "started"}),
            "message": ("message_added", {"role": "user", "content": TEXT}),
            "result": ("tool_result", {"tool_name": f"unasked-{n}", "result": TEXT}),
            "render": ("video_render_progress", {"progress": 0.5, "stage": TEXT}),
        }[kind]
        for record in records_of(said, subject="thread.t", first=n + 2):
            folding.take(record, EPOCH)

    assert weigh(folding.state) < MAX_BYTES
