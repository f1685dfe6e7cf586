"""Tests of router/sdk/queued.py."""

from __future__ import annotations

from router.sdk.queued import Kind, Queued


def test_the_size_of_what_waits_is_that_of_its_event() -> None:
    assert Queued(Kind.EVENT, 1, "agent.one.noted", "id", b"12345").size == 5
    assert [kind.value for kind in Kind] == [0, 1, 2]  # what spool files hold
