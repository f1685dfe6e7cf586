"""The time that a command may take has bounds, and readiness has the documented fields."""

from __future__ import annotations

import pytest

from edge.errors import Problem, read_as
from edge.http.bodies.system import CommandQuery, ReadyzAnswer
from tests.edge.conftest import RunningEdge


@pytest.mark.parametrize("text", ["0", "31", "soon", "nan", "inf"])
def test_a_timeout_out_of_bounds_is_refused(text: str) -> None:
    assert read_as({}, CommandQuery).timeout == 5.0
    with pytest.raises(Problem) as refused:
        read_as({"timeout": text}, CommandQuery, "bad_parameter", strict=False)

    assert (refused.value.code, refused.value.more) == ("bad_parameter", {"field": "timeout"})


async def test_readiness_is_as_it_is_documented(edge: RunningEdge) -> None:
    answer = (await edge.http.get("/readyz")).json()

    assert set(answer) == set(ReadyzAnswer.__struct_fields__)
