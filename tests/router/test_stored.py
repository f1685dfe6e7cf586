"""Tests of router/stored.py."""

from __future__ import annotations

import logging

import msgspec
import pytest

from router.nats.counters import figures
from router.stored import decoder


class Owner(msgspec.Struct):
    holder: str


def test_a_value_is_decoded_and_no_value_is_none() -> None:
    read = decoder(Owner, "TEST_GOOD")

    assert read("a", b'{"holder":"one","added later":1}') == Owner("one")
    assert read("a", None) is None
    assert "TEST_GOOD" not in figures.undecodable


@pytest.mark.parametrize("value", [b"", b"\xff", b"[]", b'{"holder":7}', b"[" * 100_000])
def test_a_value_that_cannot_be_decoded_is_skipped_counted_and_logged(
    value: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    before = figures.undecodable.get("TEST_BAD", 0)

    with caplog.at_level(logging.WARNING, "router.stored"):
        assert decoder(Owner, "TEST_BAD")("a", value) is None

    assert figures.undecodable["TEST_BAD"] == before + 1
    assert [record.__dict__["key"] for record in caplog.records] == ["a"]
