"""The line of an exception that readers of a run see."""

from __future__ import annotations

import pytest

from router.sdk.agents.faults import line_of, without_secrets


class Broken(Exception): ...


def test_it_is_the_last_line_of_the_traceback() -> None:
    with pytest.raises(Broken) as raised:
        try:
            raise KeyError("inner")
        except KeyError as inner:
            raise Broken("no such row\nand more") from inner
    with pytest.raises(SyntaxError) as wrong:
        compile("a b", "file.py", "exec")

    assert line_of(raised.value) == "Broken: no such row"
    assert line_of(ValueError()) == "ValueError"
    assert line_of(wrong.value).startswith("SyntaxError: invalid syntax")
    assert len(line_of(ValueError("x" * 10_000))) == 500
    line_of(ValueError("\udc80")).encode()


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("postgres://me:pw@db/x failed", "postgres://***@db/x failed"),
        ("Incorrect API key provided: sk-proj-abcdefghijklmnop", "Incorrect API key provided: ***"),
        ("Authorization: Bearer abcdefghijk", "Authorization: ***"),
        ("token eyJhbGciOi.eyJzdWIiOi.c2ln expired", "token *** expired"),
        ("GET /x?api_key=abc&n=1 was 401", "GET /x?api_key=***&n=1 was 401"),
        ("{'password': 'hunter2'}", "{'password': '***'}"),
        ("no row in table users, max_tokens is 4096", "no row in table users, max_tokens is 4096"),
        ("tokens: 12", "tokens: 12"),
    ],
)
def test_what_looks_like_a_secret_is_starred_and_nothing_else(text: str, safe: str) -> None:
    assert without_secrets(text) == safe


def test_what_the_environment_calls_a_secret_is_starred(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "correct horse")
    monkeypatch.setenv("MY_TOKEN", "1")

    assert without_secrets("1: correct horse battery") == "1: *** battery"
