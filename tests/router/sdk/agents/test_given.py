"""What agents are given by clients of each protocol, and what a function declares that it wants."""

from __future__ import annotations

from typing import Any, TypedDict

import msgspec
import pytest

from router.errors import BadInput
from router.sdk.agents.given import AgentInput, reader_for

AI_SDK = {"messages": [
    {"id": "1", "role": "user", "parts": [{"type": "text", "text": "old"}]},
    {"id": "2", "role": "assistant", "parts": [{"type": "text", "text": "answer"}]},
    {"id": "3", "role": "user", "parts": [{"type": "file", "url": "data:"}, {"type": "text", "text": "Grüß"},
                                           {"type": "text", "text": "Gott"}]},
], "trigger": "submit-message"}  # fmt: skip
AG_UI = {"threadId": "t", "runId": "r", "state": {"a": 1}, "tools": [], "context": [], "messages": [
    {"id": "1", "role": "user", "content": "hi"}, {"id": "2", "role": "assistant", "content": None},
]}  # fmt: skip
LANGGRAPH = {"input": {"messages": [{"type": "human", "content": [{"type": "text", "text": "hi"}]}]}, "config": {}}


@pytest.mark.parametrize(
    ("given", "text", "roles"),
    [
        (AI_SDK, "Grüß\nGott", ["user", "assistant", "user"]),
        (AG_UI, "hi", ["user", "assistant"]),
        (LANGGRAPH, "hi", ["user"]),
        ({"prompt": "hi", "model_name": "m"}, "hi", []),
        ({"input": {"question": "hi"}}, "hi", []),
        ({"input": "hi"}, "hi", []),
        ({"messages": [{"role": "assistant", "content": "hello"}], "message": "hi"}, "hi", ["assistant"]),
        ({"messages": [{"role": "user", "parts": [{"type": "file"}]}], "message": "hi"}, "", ["user"]),
        ({}, "", []),
        (None, "", []),
    ],
)
def test_each_protocol_s_messages_and_the_user_s_last_text_are_found(given: Any, text: str, roles: list[str]) -> None:
    read = AgentInput.read(given)

    assert (read.text, [message.role for message in read.messages]) == (text, roles)
    assert dict(read) == (given or {})


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ([], "must be an object"),
        ({"messages": {}}, "must be a list"),
        ({"messages": [7]}, r"messages\[0\] must be an object"),
        ({"messages": [{"content": "hi"}]}, r"messages\[0\]\.role"),
        ({"input": {"messages": "hi"}}, "must be a list"),
    ],
)
def test_what_is_no_input_is_refused_by_its_place(given: Any, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        AgentInput.read(given)


class Question(msgspec.Struct):
    question: str
    top: int = 3


class Scored(TypedDict):
    transcript: str


def test_a_function_says_by_its_annotation_what_it_wants() -> None:
    def bare(run, input): ...  # type: ignore[no-untyped-def]
    def mapping(run: Any, input: dict[str, Any]) -> None: ...
    def text(run: Any, input: str) -> None: ...
    def struct(run: UnknownHere, input: Question) -> None: ...  # type: ignore[name-defined]  # noqa: F821
    def typed(run: Any, input: Scored) -> None: ...

    class Method:
        def __call__(self, run: Any, input: Question) -> None: ...

    assert isinstance(reader_for(bare)({"a": 1}), AgentInput)
    assert isinstance(reader_for(mapping)({"a": 1}), AgentInput)
    assert reader_for(text)({"message": "hi"}) == "hi"
    assert reader_for(struct)({"question": "why", "other": 1}) == Question("why")
    assert reader_for(Method())({"question": "why"}) == Question("why")
    assert reader_for(typed)({"transcript": "t"}) == {"transcript": "t"}
    for reads, given, why in (
        (reader_for(text), {"message": " "}, "text"),
        (reader_for(struct), {"question": 7}, r"input: Expected `str`, got `int` - at `\$.question`"),
        (reader_for(struct), None, "missing required field `question`"),
    ):
        with pytest.raises(BadInput, match=why):
            reads(given)


def test_a_function_that_can_be_given_nothing_is_no_agent() -> None:
    def alone(run: Any) -> None: ...
    def strange(run: Any, input: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821
    def odd(run: Any, input: test_a_function_that_can_be_given_nothing_is_no_agent) -> None: ...  # type: ignore[valid-type]

    for function in (alone, strange, odd):
        with pytest.raises(BadInput):
            reader_for(function)
