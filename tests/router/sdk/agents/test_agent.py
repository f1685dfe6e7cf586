"""What `@agent` makes of a function, and which names and bounds it takes."""

from __future__ import annotations

from typing import Any

import pytest

from router.errors import BadInput
from router.sdk.agents import AgentInput, agent


def test_the_function_is_served_under_the_name_and_still_is_the_function() -> None:
    @agent("adder", concurrency=2, backlog=1)
    def add(run: Any, input: AgentInput) -> int:
        """Adds."""
        return int(input["a"]) + run

    assert (add.name, add.about, add.capacity) == ("adder", "Adds.", 3)
    assert add(1, AgentInput({"a": 2})) == 3


@pytest.mark.parametrize(
    ("name", "bounds"),
    [("a.b", {}), ("", {}), ("a", {"concurrency": 0}), ("a", {"backlog": -1}), ("a", {"stop_timeout": -1})],
)
def test_names_that_no_address_has_and_bounds_that_bound_nothing_are_refused(name: str, bounds: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        agent(name, **bounds)(lambda run, input: None)
