"""What a client is told beside events."""

from __future__ import annotations

from edge.disconnect import MISSED
from edge.hub import notices


def test_a_bye_says_why_and_where_to_come_back() -> None:
    notice = notices.bye(MISSED, "1-0badcafe-000000000007")

    assert notice.control == "bye"
    assert notice.body.pop("timestamp").endswith("Z")
    assert notice.body == {
        "reason": MISSED.reason,
        "code": MISSED.code,
        "reconnect": MISSED.reconnect,
        "delay_ms": int(MISSED.delay * 1000),
        "cursor": "1-0badcafe-000000000007",
    }


def test_a_bye_before_ready_names_no_place() -> None:
    assert "cursor" not in notices.bye(MISSED, None).body


def test_a_slowed_reader_is_told_its_cursor() -> None:
    body = notices.slowed("1-0badcafe-000000000007")

    assert (body["reason"], body["cursor"]) == ("filter_budget", "1-0badcafe-000000000007")
    assert body["server_time"] == body["timestamp"] and body["timestamp"].endswith("Z")
