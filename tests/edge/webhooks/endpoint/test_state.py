"""Tests of edge/webhooks/endpoint/state.py: the state of an endpoint as it is stored, and as the API shows it."""

from __future__ import annotations

import msgspec
import pytest

from edge.webhooks.endpoint.state import EndpointState, State, shown_state

NOW = 1_800_000_000.0


def test_a_state_is_stored_under_the_names_that_earlier_versions_wrote():
    stored = msgspec.json.encode(EndpointState(state="open", since=1.0, until=2.0, trips=1, enabled_at=3.0, parked=4))

    assert msgspec.json.decode(stored) == {
        "state": "open",
        "since": 1.0,
        "until": 2.0,
        "trips": 1,
        "enabled_at": 3.0,
        "parked": 4,
    }
    assert msgspec.json.encode(EndpointState()) == b"{}"


@pytest.mark.parametrize(
    ("state", "until", "shown"),
    [
        ("closed", 0.0, "closed"),
        ("closed", NOW + 1, "paused"),
        ("closed", NOW - 1, "closed"),
        ("open", NOW + 1, "open"),
    ],
)
def test_a_closed_endpoint_that_gets_no_posts_for_now_is_shown_as_paused(state: State, until: float, shown: str):
    assert shown_state(state, until, NOW) == shown


def test_an_open_endpoint_is_shown_with_its_reason_and_the_age_of_what_is_parked():
    state = EndpointState(
        state="open", since=NOW, until=NOW + 5, reason="HTTP 500", failures=5, parked=7, oldest=NOW - 2
    )

    shown = state.describe(rate=1.5, now=NOW)

    assert (shown["state"], shown["reason"], shown["failures"], shown["rate"]) == ("open", "HTTP 500", 5, 1.5)
    assert (shown["parked"], shown["oldest_parked_seconds"]) == (7, 2.0)
    assert shown["since"] < shown["until"]


def test_of_a_pause_that_is_over_neither_its_reason_nor_its_end_is_shown():
    shown = EndpointState(until=NOW - 1, reason="throttled (HTTP 429)").describe(now=NOW)

    assert (shown["state"], shown["reason"], shown["until"]) == ("closed", None, None)
