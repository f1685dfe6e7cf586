"""Tests that the codes of disconnects say whether to reconnect, and that none is used twice."""

from __future__ import annotations

from edge import disconnect
from edge.disconnect import Disconnect

REASONS = [value for value in vars(disconnect).values() if isinstance(value, Disconnect)]


def test_no_code_and_no_reason_is_used_twice() -> None:
    assert len({each.code for each in REASONS}) == len({each.reason for each in REASONS}) == len(REASONS)


def test_codes_lie_in_the_range_for_applications_and_only_those_below_4500_reconnect() -> None:
    assert all(4000 <= each.code <= 4999 for each in REASONS)
    assert disconnect.SHUTDOWN.reconnect and disconnect.EXPIRED.reconnect
    assert not disconnect.DELETED.reconnect and not disconnect.FORBIDDEN.reconnect


def test_a_delay_is_only_given_to_clients_that_reconnect() -> None:
    assert all(each.reconnect for each in REASONS if each.delay)
