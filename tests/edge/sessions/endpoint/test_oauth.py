"""Client credentials are checked, and never shown."""

from __future__ import annotations

from typing import Any

import pytest

from edge.errors import Problem
from edge.sessions.endpoint.parse import parse_change, parse_endpoint

URL = "https://receiver.example/hook"
GIVEN = {"token_url": "https://login.example/token", "client_id": "we", "client_secret": "geheim:1"}


@pytest.mark.parametrize(
    "oauth2",
    [
        "https://login.example/token",
        {},
        {**GIVEN, "client_secret": "***"},
        {**GIVEN, "client_secret": ""},
        {**GIVEN, "client_id": 7},
        {**GIVEN, "scope": "a\r\nb"},
        {**GIVEN, "token_url": "ftp://login.example/"},
        {**GIVEN, "token_url": "https://u:p@login.example/"},
        {**GIVEN, "auth": "jwt"},
        {**GIVEN, "password": "x"},
        {**GIVEN, "client_secret": "x" * 2000},
    ],
)
def test_what_are_no_credentials_is_refused(oauth2: Any) -> None:
    with pytest.raises(Problem) as refused:
        parse_endpoint({"webhook_url": URL, "oauth2": oauth2})

    assert (refused.value.code, refused.value.more["field"]) == ("bad_webhook", "oauth2")
    assert "geheim" not in refused.value.detail
    with pytest.raises(Problem):
        parse_endpoint({"webhook_url": URL, "oauth2": GIVEN, "headers": {"authorization": "mine"}})


def test_a_client_secret_is_never_shown_and_stays_over_changes() -> None:
    made = parse_endpoint({"webhook_url": URL, "oauth2": {**GIVEN, "scope": "a b"}})

    changed = parse_change(made, {"timeout": 7}, "callback")

    assert changed.oauth2 == made.oauth2
    shown = changed.describe()["oauth2"]
    assert shown["client_secret"] == "***" and (shown["scope"], shown["auth"]) == ("a b", "basic")
    assert "geheim" not in repr(changed) + repr(changed.oauth2) + str(changed.describe())
    assert parse_change(changed, {"oauth2": None}, "callback").oauth2 is None
