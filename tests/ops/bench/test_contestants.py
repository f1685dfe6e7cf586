"""How the servers of the comparison are asked."""

from __future__ import annotations

from ops.bench.contestants import _one_a_request, text_frame
from ops.bench.publisher import AT


def test_a_text_frame_is_that_of_a_client() -> None:
    short, long = text_frame("hello").encode("latin-1"), text_frame("x" * 300).encode("latin-1")

    assert short == b"\x81\x85\0\0\0\0hello"
    assert long == b"\x81\xfe\x01\x2c\0\0\0\0" + b"x" * 300


def test_those_without_batches_get_one_event_a_request() -> None:
    said = _one_a_request(80)("sse", 3)

    assert (said.requests, said.text.count("POST /say/sse "), said.text.count(AT)) == (3, 3, 3)
