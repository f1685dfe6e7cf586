"""Tests that unsafe or contradictory settings of the edge are refused when they are made."""

from __future__ import annotations

from typing import Any

import pytest

from edge.settings import (
    AutoDisableSettings,
    BreakerSettings,
    EdgeSettings,
    FastPathSettings,
    FilterSettings,
    IdentitySettings,
    LimitSettings,
    PolicySettings,
    SessionSettings,
)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"secret": "x" * 31}, "32 bytes"),
        ({"jwks_url": "http://issuer.example/jwks", "audience": ("a",)}, "https"),
        ({"jwks_url": "ftp://127.0.0.1/", "audience": ("a",)}, "https"),
        ({"jwks_url": "https://user:secret@issuer.example/", "audience": ("a",)}, "https"),
        ({"jwks_url": "https://issuer.example/jwks"}, "CALLBOARD_JWT_AUDIENCE"),
        ({"leeway": -1}, "leeway"),
        ({"ticket_ttl": 0}, "ticket_ttl"),
    ],
)
def test_settings_that_would_be_unsafe_are_refused(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        IdentitySettings(**wrong)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"retry_schedule": (-1.0,)}, "retry_schedule"),
        ({"retry_schedule": (1.0,) * 21}, "retry_schedule"),
        ({"retry_statuses": ("410",)}, "retry_statuses"),
        ({"retry_statuses": ("2xx",)}, "retry_statuses"),
        ({"retry_attempts": 21}, "retry_attempts"),
    ],
)
def test_retry_policies_out_of_bounds_are_refused(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        PolicySettings(**wrong)


def test_bounds_of_circuit_breaker_and_auto_disable() -> None:
    with pytest.raises(ValueError, match="max_pause may not be less than pause"):
        BreakerSettings(pause=10.0, max_pause=5.0)
    with pytest.raises(ValueError, match="failures must be from 1 to 1000"):
        BreakerSettings(failures=0)
    with pytest.raises(ValueError, match="after"):
        AutoDisableSettings(after=1.0)
    assert AutoDisableSettings(after=0).after == 0


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (SessionSettings, {"heartbeat": 0.0}),
        (SessionSettings, {"send_timeout": -1.0}),
        (SessionSettings, {"mailbox_events": 0}),
        (SessionSettings, {"rotate": float("nan")}),
        (FastPathSettings, {"ping": 0.0}),
        (FastPathSettings, {"unacknowledged": -1.0}),
        (FilterSettings, {"share": 1.5}),
        (FilterSettings, {"steps": 0}),
        (LimitSettings, {"handshakes_per_address": -1.0}),
        (LimitSettings, {"depth": 0}),
        (EdgeSettings, {"port": 65536}),
        (EdgeSettings, {"workers": 0}),
        (EdgeSettings, {"max_body": 0}),
        (EdgeSettings, {"session_ttl": -1.0}),
    ],
)
def test_numbers_with_which_an_edge_could_not_work_are_refused_by_name(kind: type[Any], wrong: dict[str, Any]) -> None:
    (name,) = wrong

    with pytest.raises(ValueError, match=f"{name} must be from .* to "):
        kind(**wrong)


@pytest.mark.parametrize("kind", [SessionSettings, FastPathSettings, FilterSettings, LimitSettings, EdgeSettings])
def test_defaults_are_within_their_bounds(kind: type[Any]) -> None:
    kind()


def test_the_default_number_of_retries_follows_the_schedule() -> None:
    assert PolicySettings().default_attempts == 3
    assert PolicySettings(retry_schedule=(1.0, 2.0)).default_attempts == 2
    assert PolicySettings(retry_schedule=(1.0, 2.0), retry_attempts=7).default_attempts == 7
