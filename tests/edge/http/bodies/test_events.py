"""The documented event is the one that `POST /events` takes."""

from __future__ import annotations

import msgspec
import pytest

from edge.errors import Problem, read_as
from edge.http.bodies.events import NewEvent, PageAnswer
from edge.http.ingest import FIELDS


def test_a_new_event_has_the_fields_that_are_taken() -> None:
    assert set(NewEvent.__struct_fields__) == FIELDS
    with pytest.raises(Problem) as refused:
        read_as({"subject": "a.b.c", "colour": "red"}, NewEvent)
    assert refused.value.code == "unknown_field"


def test_an_answer_leaves_out_what_it_does_not_have() -> None:
    page = PageAnswer(events=[], next="1-a-0", has_more=False)

    assert msgspec.to_builtins(page) == {"events": [], "next": "1-a-0", "has_more": False}
