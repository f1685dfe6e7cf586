"""The values of a recovery: its times, and how far it has come."""

from __future__ import annotations

from typing import Any

import pytest

from edge.webhooks.history.recovery_job import Recovery, parse_moment, text_of
from router.errors import BadCursor


def test_a_time_is_read_as_text_or_as_seconds_and_written_as_rfc_3339() -> None:
    moment = parse_moment("2026-01-01T00:00:00Z")

    assert moment == parse_moment(1767225600) == parse_moment(1767225600000)
    assert text_of(moment).startswith("2026-01-01T00:00:00")
    with pytest.raises(BadCursor):
        parse_moment("yesterday")


@pytest.mark.parametrize(
    ("known", "progress"),
    [
        ({"kind": "replay", "first": 100, "last": 300, "after": 150}, 0.25),
        ({"kind": "replay", "first": 100, "last": 100, "after": 100}, 1.0),
        ({"kind": "recover"}, None),
        ({"kind": "recover", "total": 8, "sent": 1, "skipped": 1}, 0.25),
        ({"kind": "recover", "total": 0, "state": "done"}, 1.0),
    ],
)
def test_progress_is_the_part_of_the_range_or_of_the_deliveries_that_is_done(
    known: dict[str, Any], progress: float | None
) -> None:
    recovery = Recovery(id="1", session="sess_1", created=1, **known)

    assert recovery.progress == recovery.describe()["progress"] == progress
