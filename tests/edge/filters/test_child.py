"""The child process evaluates filters over the events that it is sent."""

from __future__ import annotations

import io
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from edge.filters.child import HEAD, Evaluator, serve
from router.codec import encode
from router.event import Event
from router.filter import Activation, Filter


@given(st.lists(st.dictionaries(st.sampled_from("nm"), st.integers(0, 2) | st.lists(st.integers(-9, 9), max_size=3))))
def test_the_child_answers_as_the_filter_does(datas: list[dict[str, Any]]) -> None:
    texts = ["data.n == 1", "data.m.exists(x, x > 0)", "size(data) == 2"]
    payloads = [encode(Event.new("job.x.output", data)) for data in datas]
    evaluator = Evaluator()

    for text in texts:
        wanted = Filter.compile(text)
        expected = [wanted.matches(Activation(Event.new("job.x.output", data))) for data in datas]
        numbers = list(range(1, len(payloads) + 2))
        new = [*payloads, b"\xc1"] if text == texts[0] else []
        assert list(evaluator.answer(text, numbers, new, [])) == [*map(int, expected), 0]


def test_requests_are_answered_in_turn_until_they_end() -> None:
    payload = encode(Event.new("job.x.output", {"n": 1}))
    asked = [("data.n == 1", [1], [payload], []), ("data.n == 2", [1, 1], [], [1])]
    requests = [msgspec.msgpack.encode(each) for each in asked]
    answers = io.BytesIO()

    serve(io.BytesIO(b"".join(len(each).to_bytes(HEAD, "big") + each for each in requests) + b"\0"), answers)

    assert answers.getvalue() == b"\0\0\0\1" + b"\1" + b"\0\0\0\2" + b"\0\0"
