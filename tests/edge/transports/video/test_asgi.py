"""Over plain ASGI a picture is written only when the last one has gone, and what is told is bounded.

How slow and stalled viewers fare over it stands in test_delivery.py, beside the sockets that are taken over.
"""

from __future__ import annotations

from typing import Any

from edge.transports.video.asgi import MOST_TOLD, AsgiPictureSocket
from tests.edge.transports.video.test_viewer import picture


async def _receive() -> dict[str, Any]:
    return {"type": "websocket.disconnect"}


async def _send(_message: Any) -> None:
    return None


def test_a_picture_that_is_not_written_yet_keeps_the_next_one_away() -> None:
    sink = AsgiPictureSocket({"type": "websocket"}, _receive, _send)
    frame = picture(1)

    assert sink.writable and sink.write(frame, None) == len(frame.payload)
    assert not sink.writable and sink.unread == 0


def test_what_is_told_to_a_client_that_does_not_read_is_bounded() -> None:
    sink = AsgiPictureSocket({"type": "websocket"}, _receive, _send)
    for number in range(2 * MOST_TOLD):
        sink.tell({"control": "state", "number": number})

    assert len(sink._told) == MOST_TOLD and sink._told[-1]["number"] == 2 * MOST_TOLD - 1
