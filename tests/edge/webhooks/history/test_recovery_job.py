"""The values of a recovery: its times."""

from __future__ import annotations

import pytest

from edge.webhooks.history.recovery_job import parse_moment, text_of
from router.errors import BadCursor


def test_a_time_is_read_as_text_or_as_seconds_and_written_as_rfc_3339() -> None:
    moment = parse_moment("2026-01-01T00:00:00Z")

    assert moment == parse_moment(1767225600) == parse_moment(1767225600000)
    assert text_of(moment).startswith("2026-01-01T00:00:00")
    with pytest.raises(BadCursor):
        parse_moment("yesterday")
