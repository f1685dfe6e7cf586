"""Bodies and queries of sessions and tickets are read strictly."""

from __future__ import annotations

import msgspec
import pytest

from edge.errors import Problem, read_as
from edge.http.bodies.sessions import PollQuery, SessionTestQuery, SessionTestRequest, SocketQuery, TicketRequest


def test_a_test_event_has_a_type_and_may_leave_out_its_data() -> None:
    empty = read_as({}, SessionTestRequest)

    assert empty.event_type == "progress" and isinstance(empty.test_data, msgspec.UnsetType)
    for body in ({"test_data": None}, {"test_data": []}, {"event_type": 5}):
        with pytest.raises(Problem) as refused:
            read_as(body, SessionTestRequest)
        assert refused.value.code == "bad_body"


@pytest.mark.parametrize(
    ("shape", "query", "field"),
    [
        (PollQuery, {"limit": "1001"}, "limit"),
        (PollQuery, {"wait": "-1"}, "wait"),
        (SessionTestQuery, {"wait": "61"}, "wait"),
        (SocketQuery, {"start": "later"}, "start"),
        (TicketRequest, {"transport": "pigeon"}, "transport"),
    ],
    ids=str,
)
def test_a_bad_parameter_is_refused_by_name(shape: type, query: dict[str, str], field: str) -> None:
    with pytest.raises(Problem) as refused:
        read_as(query, shape, "bad_parameter", strict=False)

    assert (refused.value.code, refused.value.more) == ("bad_parameter", {"field": field})
