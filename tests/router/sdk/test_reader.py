"""Cursors as a reader compares them, and when it comes back."""

from __future__ import annotations

import pytest

from router.sdk.reader import ReadRefused, SessionReader, follows


def test_a_cursor_follows_one_of_a_lower_place_and_any_of_another_epoch() -> None:
    assert follows("1-aa-000000000002-11", "1-aa-000000000001")
    assert not follows("1-aa-000000000001", "1-aa-000000000001-22")
    assert follows("1-bb-000000000001", "1-aa-000000000009")
    assert follows("1-aa-000000000001", None) and follows("1-aa-000000000001", "earliest")


def test_a_cursor_of_several_shards_follows_where_it_is_farther_in_one() -> None:
    last = "2-1.-1aaa8bbb9.0-----0"

    assert follows("2-1.-1aaa9bbb9", last) and follows("2-1.-2aaa-8bbb0-.0-----1", last)
    assert not follows(last, last) and not follows("2-1.-1aaa8bbb8.------0", last)
    # Another life of one stream, and another generation.
    assert follows("2-1.-1aaa8bbc-", last) and follows("2-2.-1aaa-bbb-", last)
    # What comes behind the last event of one stream is in others.
    assert follows("2-1.-1aaa0bbb-", "1-cc-000000000009-11")


def reader() -> SessionReader:
    return SessionReader("http://127.0.0.1:9", dict, {}, cursor="1-aa-000000000001")


def test_a_bye_says_when_to_come_back() -> None:
    told = reader()
    told._notice(
        {"control": "bye", "reason": "shutdown", "reconnect": True, "delay_ms": 2000, "cursor": "1-aa-000000000005"}
    )

    assert 2.0 <= told._ended(4001, 1.0) <= 3.0
    assert told.cursor == "1-aa-000000000005"


def test_a_bye_that_says_stay_away_is_an_error() -> None:
    told = reader()
    told._notice({"control": "bye", "reason": "session_deleted", "reconnect": False})

    with pytest.raises(ReadRefused, match="session_deleted"):
        told._ended(4504, 1.0)


def test_two_tries_without_a_ready_choose_the_next_transport() -> None:
    told = reader()

    for _ in range(2):
        told._ended(1006, 0.0)

    assert told._transports[told._choice] == "sse"
