"""What a row of the delivery benchmark says."""

from __future__ import annotations

from ops.bench.delivery import DeliveryRun, _row


def test_a_row_counts_deliveries_and_says_whether_readers_fell_behind() -> None:
    well = _row("sse", 200, [DeliveryRun(10.0, 5.0, {"edge": 1.0}, 3.0, 0.0)])
    behind = _row("websocket", 1, [DeliveryRun(10.0, 5.0, {"edge": 1.0}, 3.0, 1200.0)])

    assert (well.figure, well.note) == (2000.0, "3 events a write")
    assert "200 SSE clients" in well.what and "1 WebSocket client" in behind.what
    assert "1,200 pages were read again" in behind.note
