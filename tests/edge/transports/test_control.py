"""What clients say over a WebSocket, and how they are answered."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from edge.errors import Problem
from edge.transports.control import answer, read_opening
from edge.types import State
from router.cursor import Start


def opening(said: Mapping[str, str]) -> Start:
    if "cursor" in said:
        raise Problem("bad_cursor", "not a cursor")
    return Start(last=int(said["last"]))


def reader(state: State = State.LIVE) -> Any:
    return cast(Any, SimpleNamespace(state=state, cursor="1-0badcafe-000000000007", authorization=None))


def test_a_client_says_where_it_begins() -> None:
    assert read_opening('{"control":"resume","last":3,"cursor":null}', opening) == Start(last=3)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ('{"control":"resume","cursor":"x"}', "bad_cursor"),
        ('{"control":"refresh"}', "resume_expected"),
        ("[]", "resume_expected"),
        ("{", "resume_expected"),
    ],
)
def test_an_opening_that_says_no_place_is_refused_by_name(said: str, code: str) -> None:
    refused = read_opening(said, opening)

    assert isinstance(refused, dict) and (refused["control"], refused["code"]) == ("error", code)


def test_a_ping_is_answered_before_and_after_ready() -> None:
    early = read_opening('{"control":"ping","id":1}', opening)
    assert isinstance(early, dict) and (early["control"], early["id"]) == ("pong", 1)
    assert "cursor" not in answer('{"control":"ping"}', reader(State.CONNECTING))
    assert answer('{"type":"ping","id":2}', reader())["cursor"] == "1-0badcafe-000000000007"


@pytest.mark.parametrize(
    ("said", "code"),
    [("{", "bad_json"), ('"ping"', "unknown_control"), ('{"control":"refresh","token":"x"}', "bad_token")],
)
def test_what_cannot_be_answered_is_named(said: str, code: str) -> None:
    assert answer(said, reader())["code"] == code
