"""Tokens that were verified are known again, within bounds, and believed no longer than their times and their keys allow."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edge.auth import token as tokens
from edge.auth.grants import Grants
from edge.auth.token import Verifier, mint
from edge.auth.verified_tokens import VerifiedTokens
from edge.errors import Problem
from edge.settings import IdentitySettings
from tests.clocks import set_clock
from tests.edge.auth.attacks import claims, forge
from tests.edge.auth.conftest import SECRET
from tests.edge.auth.test_jwks import Issuer, Keys, _settings, _signed, issuer, keys  # noqa: F401
from tests.waiting import eventually


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens whose signatures were verified."""
    found: list[str] = []
    verify = tokens._signed

    def counted(token: str, key: Any) -> bytes | None:
        found.append(token)
        return verify(token, key)

    monkeypatch.setattr(tokens, "_signed", counted)
    return found


async def test_a_token_is_verified_once(verified: list[str]) -> None:
    verifier = Verifier(IdentitySettings(secret=SECRET))
    token = mint(SECRET, "alice", Grants.of(["a.>"]), 60, None, None)

    principals = [verifier.verify_now(token), await verifier.verify(token), verifier.known(token)]

    assert verified == [token]
    assert {principal.id for principal in principals if principal} == {"- alice"} and None not in principals


def test_a_refused_token_is_refused_again_and_not_kept(verified: list[str]) -> None:
    verifier = Verifier(IdentitySettings(secret=SECRET))
    forged = mint("another secret, as long as it must be", "alice", Grants.of(["a.>"]), 60, None, None)
    unsuitable = forge({"alg": "HS256"}, claims(sub=7), SECRET.encode())

    for token in (forged, unsuitable, forged, unsuitable):
        with pytest.raises(Problem) as refused:
            verifier.verify_now(token)
        assert refused.value.code == "bad_token"
        assert verifier.known(token) is None
    assert len(verified) == 4


def test_a_known_token_ends_when_it_says_so(monkeypatch: pytest.MonkeyPatch, verified: list[str]) -> None:
    clock = set_clock(monkeypatch, "edge.auth.token", standing=True)
    verifier = Verifier(IdentitySettings(secret=SECRET, leeway=10))
    token = forge({"alg": "HS256"}, claims(exp=clock.time() + 60), SECRET.encode())
    assert verifier.verify_now(token).id == "- mallory"

    clock.advance(69)
    assert verifier.verify_now(token).id == "- mallory"
    clock.advance(2)
    for check in (verifier.verify_now, verifier.known):
        with pytest.raises(Problem) as refused:
            check(token)
        assert refused.value.code == "token_expired"
    assert len(verified) == 1


def test_a_known_token_is_not_valid_before_its_time_where_the_clock_was_put_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = set_clock(monkeypatch, "edge.auth.token", standing=True)
    verifier = Verifier(IdentitySettings(secret=SECRET, leeway=10))
    token = forge({"alg": "HS256"}, claims(nbf=clock.time()), SECRET.encode())
    assert verifier.verify_now(token).id == "- mallory"

    clock.advance(-60)
    with pytest.raises(Problem, match="not valid yet"):
        verifier.verify_now(token)


async def test_a_known_token_whose_key_the_issuer_withdrew_is_believed_no_more(
    issuer: Issuer,  # noqa: F811
    keys: Keys,  # noqa: F811
    verified: list[str],
) -> None:
    issuer.answer = {"keys": [keys.jwk(keys.rsa, kid="old")]}
    verifier = Verifier(_settings(issuer, jwks_min_interval=0.0, jwks_max_age=0.05))
    assert verifier.jwks
    running = asyncio.ensure_future(verifier.jwks.run())
    try:
        await eventually(lambda: verifier.jwks and verifier.jwks.keys)
        token = _signed(keys, keys.rsa, "RS256", "old")
        assert (await verifier.verify(token)).id == "- mallory"

        # Fetched again, it is another object that verifies the same.
        before = verifier.jwks.keys[0]
        await eventually(lambda: verifier.jwks and verifier.jwks.keys[0] is not before)
        assert (await verifier.verify(token)).id == "- mallory"

        issuer.answer = {"keys": [keys.jwk(keys.ec, kid="new")]}
        await eventually(lambda: verifier.jwks and verifier.jwks.keys[0].kid == "new")
        with pytest.raises(Problem, match="no known key"):
            verifier.verify_now(token)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_the_least_recently_used_tokens_are_dropped_where_there_are_too_many() -> None:
    known: VerifiedTokens[str] = VerifiedTokens(most=3)
    for name in "abc":
        known.put(name, name.upper())
    assert known.get("a") == "A"

    known.put("d", "D")

    assert [known.get(name) for name in "abcd"] == ["A", None, "C", "D"]


def test_many_large_tokens_are_as_many_characters_as_a_few_more_small_ones() -> None:
    known: VerifiedTokens[int] = VerifiedTokens(most=1000, most_characters=100)
    for number in range(50):
        known.put(f"{number:020}", number)
    assert len(known) == 5

    known.put("x" * 90, 1)
    assert len(known) == 1
    known.put("x" * 90, 2)
    assert known.get("x" * 90) == 2
    known.drop("x" * 90)
    known.drop("x" * 90)
    assert len(known) == 0 and known.get("x" * 90) is None
    for number in range(50):
        known.put(f"{number:020}", number)
    assert len(known) == 5


@pytest.mark.parametrize("text", ["", "é", "\ud800", "a.b.c"])
def test_any_text_is_asked_for_and_not_known(text: str) -> None:
    known: VerifiedTokens[int] = VerifiedTokens()

    assert known.get(text) is None
    assert Verifier(IdentitySettings(secret=SECRET)).known(text) is None
