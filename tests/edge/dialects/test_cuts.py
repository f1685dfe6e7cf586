"""A stream of each folding dialect that is cut at any byte, and gone on with behind the last id, is whole."""

from __future__ import annotations

import pytest

from edge.dialects.dialect import FoldedDialect
from edge.dialects.folding import part_id, read_part_id
from edge.dialects.table import DIALECTS
from router.cursor import Cursor
from tests.edge.dialects.folds import EventSourceClient, records_of, written

RUN = records_of(
    ("workflow_start", {"incarnation": "a"}),
    ("thinking", {"thought": "hm"}),
    ("token", {"content": "Grüß"}),
    ("token", {"content": " Gott"}),
    ("tool_use", {"tool_name": "search", "parameters": {"q": "x"}}),
    ("tool_result", {"tool_name": "search", "result": [1]}),
    ("video_render_progress", {"progress": 0.5}),
    ("council_score_stream", {"stage": "complete"}),
    ("ai_evaluation_stream", {"chunk": "good"}),
    ("token", {"content": "!"}),
    ("tool_result", {"tool_name": "unasked", "error": "no"}),
    ("completion", {"success": False, "error": "broken"}),
    subject="thread.t",
)
PARAMETERS = {"run": "r", "thread": "t", "modes": "values,messages-tuple,messages,updates,custom,tools"}
# What they make over SSE begins with their client's first event, and not with what it has subscribed to.
SPOKEN = [
    each
    for each in DIALECTS.values()
    if isinstance(each, FoldedDialect) and each.name not in ("geminivideo-channels", "viewport")
]


@pytest.mark.parametrize("dialect", SPOKEN, ids=lambda dialect: dialect.name)
def test_a_client_that_was_cut_off_at_any_byte_has_everything_once(dialect: FoldedDialect) -> None:
    """But for a dialect without ids of parts, whose client may have the first parts of the one event that was cut twice."""
    stream = written(dialect, RUN, parameters=PARAMETERS)
    whole = EventSourceClient()
    whole.feed(stream)
    client, begun = EventSourceClient(), 0
    seen: set[tuple[str, int]] = set()

    for place in range(len(stream)):
        before = client.last
        client.feed(stream[place : place + 1])
        if client.last != before:
            # How many it had when it came to the event of which the next part is.
            begun = len(client.events)
        if (client.last, len(client.events)) in seen:
            continue
        seen.add((client.last, len(client.events)))
        cursor, had = read_part_id(client.last)
        after = Cursor.parse(cursor).sequence if cursor else 0
        rest = EventSourceClient()
        rest.feed(written(dialect, RUN, after, parameters=PARAMETERS, had=had))
        assert whole.events[:begun] + rest.events == whole.events
        assert not dialect.part_ids or begun == len(client.events)

    assert len(seen) >= 3


def test_the_id_of_a_part_is_read_again_and_no_other_text() -> None:
    whole = ("1-0badcafe-000000000001-00000001", "2-0badcafe.5.12~0badcaff.17", "2-0badcafe.5.12~0badcaff.1.99")
    others = ("", "x", "x.", "x.0", ".1", "2-_1", "2-0badcafe.5_0")

    for cursor in whole:
        assert read_part_id(part_id(cursor, 12)) == (cursor, 12)
    # What follows a dot in a cursor of several shards is its own.
    assert [read_part_id(said) for said in (*whole, *others)] == [(said, 0) for said in (*whole, *others)]
