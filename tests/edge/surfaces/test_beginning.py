"""What an agent is given by a run of LangGraph's API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge.surfaces.beginning import GraphRunRequest, input_of

BEFORE = json.dumps({"type": "ai", "id": "a", "content": "before"})


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ({"input": {"topic": "tea"}, "config": {"tags": []}}, {"topic": "tea", "config": {"tags": []}}),
        # Its own field of that name wins.
        ({"input": {"config": 1}, "config": {"tags": []}}, {"config": 1}),
        ({"input": "tea", "context": {"a": 1}}, {"input": "tea", "context": {"a": 1}}),
        ({"command": {"resume": True}}, {"command": {"resume": True}}),
        ({}, {}),
    ],
)
def test_an_agent_is_given_the_input_and_what_is_for_a_graph(asked: dict[str, Any], given: dict[str, Any]) -> None:
    assert input_of(GraphRunRequest(assistant_id="a", **asked), [], []) == given


def test_an_agent_is_given_the_messages_of_the_thread_before_the_new_ones() -> None:
    new = {"type": "human", "id": "", "content": "hi"}

    given = input_of(GraphRunRequest(assistant_id="a", input={"messages": ["hi"]}), [BEFORE], [new])

    assert given["messages"] == [
        {"role": "assistant", "type": "ai", "id": "a", "content": "before"}, {"role": "user", "type": "human", "content": "hi"},
    ]  # fmt: skip
