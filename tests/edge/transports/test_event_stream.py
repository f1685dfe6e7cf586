"""The text of server-sent events."""

from __future__ import annotations

import pytest

from edge.dialects.ag_ui import AG_UI
from edge.dialects.ai_sdk import AI_SDK
from edge.dialects.callback import CALLBACK
from edge.dialects.dialect import DialectPart, FoldedDialect
from edge.dialects.folding import Taken, part_id
from edge.transports.encoders import ChunkedSseEncoder, SseEncoder
from edge.transports.event_stream import LAST_CHUNK, chunk, one_line, sse_event, sse_part
from edge.types import Notice

CURSOR = "1-0badcafe-00000000000a-12345678"


@pytest.mark.parametrize(("dialect", "first"), [(AI_SDK, b""), (AG_UI, f"id: {part_id(CURSOR, 1)}\n".encode())])
def test_the_cursor_is_on_the_last_part_and_those_before_have_ids_of_their_own_at_most(
    dialect: FoldedDialect, first: bytes
) -> None:
    taken = Taken(None, [DialectPart(b"1"), DialectPart(b"2")])

    assert sse_event(taken, CURSOR, dialect) == b"data: 1\n%b\ndata: 2\nid: %b\n\n" % (first, CURSOR.encode())


def test_no_line_of_an_event_breaks_where_some_programs_break_lines() -> None:
    part = sse_part(DialectPart('"a\u2028b\x85c"'.encode(), name="x", cursor="c", retry=5))

    assert part == b'retry: 5\nevent: x\ndata: "a\\u2028b\\u0085c"\nid: c\n\n'
    assert len(one_line("\u2029".encode()).splitlines()) == 1


def test_a_chunk_says_its_size_in_front() -> None:
    heartbeat = Notice("heartbeat", {})

    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
    assert chunk(b"") == b"" != LAST_CHUNK
    assert ChunkedSseEncoder(CALLBACK).notice(heartbeat) == chunk(SseEncoder(CALLBACK).notice(heartbeat))
