"""HTTP requests that are made once and sent again and again."""

from __future__ import annotations

import pytest

from ops.bench.publish import _whole
from ops.bench.stand import BenchError


def test_an_answer_is_whole_once_its_body_is() -> None:
    head = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n"

    assert [_whole(bytearray(part)) for part in (head[:20], head, head + b"{", head + b"{}")] == [
        False,
        False,
        False,
        True,
    ]


def test_a_refusal_ends_the_benchmark() -> None:
    with pytest.raises(BenchError, match="429"):
        _whole(bytearray(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"))
