"""Tests that unsafe or contradictory settings of the edge are refused when they are made."""

from __future__ import annotations

from typing import Any

import pytest

from edge.settings import AutoDisableSettings, BreakerSettings, IdentitySettings, PolicySettings


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


def test_the_default_number_of_retries_follows_the_schedule() -> None:
    assert PolicySettings().default_attempts == 3
    assert PolicySettings(retry_schedule=(1.0, 2.0)).default_attempts == 2
    assert PolicySettings(retry_schedule=(1.0, 2.0), retry_attempts=7).default_attempts == 7
