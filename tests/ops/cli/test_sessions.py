"""`callboard sessions`: where the edge is, and its sessions in a table."""

from __future__ import annotations

import json

import pytest

from ops.cli.sessions import edge_of, refused
from ops.environment import RawValue
from ops.process.http import HttpAnswer
from ops.settings import Mistakes, Settings


def made(**variables: str) -> Settings:
    flags = {f"CALLBOARD_{name}": RawValue(text, "flag", name) for name, text in variables.items()}
    return Settings.load("edge", flags=flags, adopt=())


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://edge:9000", ("edge", 9000)),
        ("edge:9000", ("edge", 9000)),
        ("http://edge", ("edge", 80)),
        ("http://[::1]:9000", ("::1", 9000)),
    ],
)
def test_an_edge_is_found_by_its_address(url: str, found: tuple[str, int]) -> None:
    assert edge_of(made(EDGE_URL=url)) == found


@pytest.mark.parametrize("url", ["https://edge", "http://"])
def test_an_address_that_cannot_be_asked_is_a_mistake(url: str) -> None:
    with pytest.raises(Mistakes, match="CALLBOARD_EDGE_URL"):
        edge_of(made(EDGE_URL=url))


def test_one_that_listens_everywhere_is_asked_on_loopback() -> None:
    assert edge_of(made(EDGE_HOST="0.0.0.0", EDGE_PORT="9000")) == ("127.0.0.1", 9000)


def test_a_refusal_is_told_with_how_to_have_a_token_unless_there_was_one() -> None:
    answer = HttpAnswer(401, body=json.dumps({"detail": "no token"}).encode())

    assert refused(answer, None).startswith("refuses: no token; give one with --token")
    assert refused(answer, "t") == "refuses: no token"
    assert refused(HttpAnswer(403), "t") == "refuses: 403"
