"""A session is shown without its secrets."""

from __future__ import annotations

import msgspec

from edge.sessions.answer import describe
from edge.sessions.spec import parse_session


def test_a_session_that_is_read_has_no_field_of_a_webhook() -> None:
    shown = msgspec.to_builtins(describe(parse_session({"name": "x"})[0]))

    assert shown["name"] == "x" and "webhook_url" not in shown and "webhook_secret" not in shown
    assert shown["urls"]["self"] == f"/callbacks/sessions/{shown['session_id']}"


def test_a_webhook_shows_its_settings_and_its_secret_only_where_it_is_given() -> None:
    body = {"delivery_method": "webhook", "webhook_url": "https://u.example/?t=geheim", "headers": {"A": "geheim"}}
    spec, _ = parse_session(body)
    assert spec.webhook is not None

    shown = msgspec.json.encode(describe(spec)).decode()
    created = msgspec.to_builtins(describe(spec, webhook_secret=spec.webhook.secret))

    assert "geheim" not in shown and spec.webhook.secret not in shown
    assert created["webhook_secret"] == spec.webhook.secret
    assert (created["concurrency"], created["state"], set(created["urls"]) >= {"health", "attempts"}) == (
        8,
        "active",
        True,
    )
