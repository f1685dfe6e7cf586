"""Request bodies become the specification of a session, and changes of one."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from edge.dialects.table import SESSION_DIALECTS
from edge.errors import Problem
from edge.sessions.body import DialectName
from edge.sessions.spec import SessionSpec, parse_change, parse_session, view_of

WEBHOOK = {"delivery_method": "webhook", "webhook_url": "https://a.example/"}


def test_what_is_left_out_has_its_default_and_an_empty_list_is_none() -> None:
    spec, start = parse_session({"events": [], "filter": ""})

    assert (spec.delivery_method, spec.dialect, spec.events, spec.filter, start) == (
        "websocket",
        "callback",
        None,
        None,
        None,
    )
    assert view_of(spec).session is not None


def test_every_dialect_can_be_asked_for() -> None:
    assert set(get_args(DialectName)) == set(SESSION_DIALECTS)


def test_webhook_settings_of_a_session_that_is_read_are_not_looked_at() -> None:
    spec, _ = parse_session({"timeout": "soon", "webhook_url": 7})

    assert spec.webhook is None


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"ttl": 0.5}, "bad_body", "ttl"),
        ({"ttl": -1}, "bad_body", "ttl"),
        ({"max_rate": 0}, "bad_body", "max_rate"),
        ({"events": ["a\n"]}, "bad_body", "events"),
        ({"name": "x" * 201}, "bad_body", "name"),
        ({"conflate": None}, "bad_body", "conflate"),
        ({"dialect": "cloudevents-binary"}, "bad_body", "dialect"),
        ({**WEBHOOK, "breaker": {"failures": 0}}, "bad_webhook", "breaker"),
        ({"colour": "red"}, "unknown_field", "colour"),
    ],
    ids=str,
)
def test_a_bad_field_is_named(body: dict[str, Any], code: str, field: str) -> None:
    with pytest.raises(Problem) as refused:
        parse_session(body)

    assert (refused.value.code, refused.value.more) == (code, {"field": field})


def test_a_change_leaves_what_it_does_not_name_and_null_gives_the_default_back() -> None:
    spec, _ = parse_session({"name": "x", "ttl": 60, "conflate": True, "subjects": ["a.b.c"]})

    changed = parse_change({"name": None, "conflate": None, "max_rate": 5}, spec)

    assert (changed.name, changed.conflate, changed.max_rate) == (None, False, 5.0)
    assert (changed.id, changed.created, changed.ttl, changed.subjects) == (spec.id, spec.created, 60.0, ["a.b.c"])
    for body, code in (({"timeout": 5}, "bad_body"), ({"dialect": "callback"}, "unknown_field"), ([], "bad_body")):
        with pytest.raises(Problem) as refused:
            parse_change(body, spec)
        assert refused.value.code == code


def test_a_specification_survives_the_bucket() -> None:
    spec, _ = parse_session({**WEBHOOK, "name": "x", "batch": {"max_n": 5}, "signature": {"headers": {"X-S": "{hex}"}}})

    assert msgspec.json.decode(msgspec.json.encode(spec), type=SessionSpec) == spec
