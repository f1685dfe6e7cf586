"""Tests of router/nats/headers.py."""

from __future__ import annotations

from router.nats.headers import all_headers, header, status


def test_raw_headers_are_read_without_parsing_the_block() -> None:
    raw = b"NATS/1.0\r\nNats-Sequence: 42\r\nX-Nats-Sequence: 7\r\n\r\n"

    assert header(raw, b"Nats-Sequence") == "42"
    assert header(raw, b"Nats-Seq") is None
    assert status(raw) == (0, "")
    assert status(b"NATS/1.0 409 Leadership Change\r\n\r\n") == (409, "Leadership Change")
    assert status(b"") == (0, "")


def test_a_whole_block_is_read_and_the_last_of_equal_names_wins() -> None:
    raw = b"NATS/1.0\r\nA: 1\r\nB:two: 2\r\nA: 3\r\n\r\n"

    assert all_headers(raw) == {"A": "3", "B": "two: 2"}
    assert all_headers(b"") == {}
