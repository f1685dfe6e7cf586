"""The bytes of the Durable Streams protocol: control events, arrays, cursors of time."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from edge.dialects.durable_streams import INTERVALS_SINCE, array, control, data, stream_cursor

OFFSET = "1-5f3a9c1e-00000000002a-9b1c04e2"


def test_control_and_data_events_have_the_protocol_s_bytes() -> None:
    assert data(array([b'{"n":1}', b'{"n":2}'])) == b'event: data\ndata:[{"n":1},{"n":2}]\n\n'
    assert control(OFFSET, "7") == (
        b'event: control\ndata:{"streamNextOffset":"%b","streamCursor":"7"}\n\n' % OFFSET.encode()
    )
    assert control(OFFSET, "7", up_to_date=True) == (
        b'event: control\ndata:{"streamNextOffset":"%b","streamCursor":"7","upToDate":true}\n\n' % OFFSET.encode()
    )
    assert control(OFFSET, "7", closed=True) == (
        b'event: control\ndata:{"streamNextOffset":"%b","upToDate":true,"streamClosed":true}\n\n' % OFFSET.encode()
    )
    assert array([]) == b"[]"


def test_an_offset_has_the_form_that_the_protocol_requires() -> None:
    assert not set(OFFSET) & set(",&=?/ ") and OFFSET not in ("-1", "now") and len(OFFSET) < 256


@pytest.mark.parametrize(
    ("given", "least", "most"),
    [
        (None, 10, 10),
        ("9", 10, 10),
        ("10", 11, 190),
        ("4000", 4001, 4180),
        ("x", 10, 10),
        ("²", 10, 10),
        ("9" * 5000, 10, 10),
    ],
)
def test_a_cursor_is_an_interval_and_always_beyond_that_of_the_client(given: str | None, least: int, most: int) -> None:
    assert datetime(2024, 10, 9, tzinfo=UTC).timestamp() == INTERVALS_SINCE
    assert least <= int(stream_cursor(given, INTERVALS_SINCE + 219.9)) <= most
