"""What the benchmark of dialects asks for, and how it compares."""

from __future__ import annotations

import pytest
from starlette.routing import Match

from edge.dialects.dialect import FoldedDialect
from edge.dialects.table import DIALECTS
from edge.surfaces.table import routes
from ops.bench.dialects import CALLBACK, CONVERSATIONS, Conversation, _row


@pytest.mark.parametrize("spoken", CONVERSATIONS, ids=lambda spoken: spoken.dialect)
def test_what_is_measured_is_a_dialect_by_an_address_of_it(spoken: Conversation) -> None:
    dialect = DIALECTS[spoken.dialect]

    assert spoken.folded is isinstance(dialect, FoldedDialect)
    if spoken.path is not None:
        kind = "http" if spoken.transport == "sse" else "websocket"
        asked = {"type": kind, "method": "GET", "path": spoken.path.split("?")[0], "root_path": "", "headers": []}
        assert any(route.matches(asked)[0] is Match.FULL for route in routes())
    assert spoken.event(spoken.says, 7, spoken.data).subject.entity == f"bench-{spoken.dialect}-7"


def test_each_dialect_is_measured_once() -> None:
    measured = [spoken.dialect for spoken in CONVERSATIONS]

    assert len(set(measured)) == len(measured)


def test_a_ratio_is_the_median_of_those_of_neighbours() -> None:
    row = _row(CONVERSATIONS[-1], [(10.0, 5.0), (20.0, 20.0), (33.0, 22.0)])

    assert row.note == "1.50x callback (20.0 µs)" and row.runs == [10.0, 20.0, 33.0]
    assert "(folded)" in row.what and CALLBACK is CONVERSATIONS[0]
