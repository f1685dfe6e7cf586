"""Tests of router/store_trouble.py."""

from __future__ import annotations

import pytest

from router.errors import Refused
from router.store_trouble import (
    FORBIDDEN,
    NO_QUORUM,
    STORAGE_FULL,
    STREAM_MISSING,
    WRITE_FAILED,
    Trouble,
    code_of,
)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((503, 10077, "maximum bytes exceeded"), STORAGE_FULL),
        ((500, 10047, "insufficient storage resources available"), STORAGE_FULL),
        ((404, 10059, "stream not found"), STREAM_MISSING),
        ((503, 10008, "JetStream system temporarily unavailable"), NO_QUORUM),
        ((403, 0, "not allowed"), FORBIDDEN),
        ((400, 10109, "invalid operation on sealed stream"), WRITE_FAILED),
    ],
)
def test_a_refused_write_has_one_code(answer: tuple[int, int, str], code: str) -> None:
    assert code_of(Refused(*answer)) == code


def test_a_trouble_reads_as_one_line() -> None:
    assert str(Trouble("EVENTS", STORAGE_FULL, "no space left")) == "EVENTS: storage_full (no space left)"
