"""Tokens: the good ones are read, and of the others none is believed, whatever it tries."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.auth.grants import Grants
from edge.auth.keys import load
from edge.auth.token import Verifier, mint
from edge.errors import Problem
from edge.settings import IdentitySettings
from tests.clocks import set_clock
from tests.edge.auth.attacks import Keys, attacks, claims, forge
from tests.edge.auth.conftest import SECRET, SecuredEdge, SecuredFactory, bearer
from tests.edge.auth.tally import tried as counts


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys()


@pytest.fixture
def files(keys: Keys, tmp_path: Path) -> tuple[Path, ...]:
    """The public keys: RSA as JWKS under a kid, EC as JWK, Ed25519 as PEM."""
    paths = tmp_path / "rsa.json", tmp_path / "ec.jwk", tmp_path / "ed.pem"
    paths[0].write_text(json.dumps({"keys": [keys.jwk(keys.rsa, kid="rsa-1", use="sig", alg="RS256")]}))
    paths[1].write_text(json.dumps(keys.jwk(keys.ec)))
    paths[2].write_bytes(keys.pem(keys.ed))
    return paths


@pytest.fixture
def verifier(files: tuple[Path, ...]) -> Verifier:
    return Verifier(IdentitySettings(secret=SECRET, keys=files))


def test_each_of_the_four_algorithms_is_believed(verifier: Verifier, keys: Keys) -> None:
    tokens = [
        mint(SECRET, "mallory", Grants.of([">"]), 60, None, None),
        keys.sign(keys.rsa, "RS256", kid="rsa-1"),
        keys.sign(keys.rsa, "RS256"),
        keys.sign(keys.ec, "ES256", kid="unknown names are for keys that have one"),
        keys.sign(keys.ed, "EdDSA", typ="at+jwt"),
    ]

    for token in tokens:
        principal = verifier.verify_now(token)
        assert principal.id == "- mallory" and principal.grants.read == (">",)
        assert 0 < principal.left < 700


def test_of_all_attacks_none_is_believed(verifier: Verifier, keys: Keys) -> None:
    tried: Counter[str] = Counter()
    for name, token in attacks(keys, SECRET):
        with pytest.raises(Problem) as refused:
            verifier.verify_now(token)
            raise AssertionError(f"believed: {name}")
        counts("JWT attack, at the verifier", refused.value.status, refused.value.detail)
        assert refused.value.status == 401, name
        assert "\n" not in refused.value.headers["WWW-Authenticate"], name
        tried[refused.value.code] += 1

    assert tried["bad_token"] > 100 and set(tried) == {"bad_token", "token_expired"}


async def test_over_http_every_attack_is_a_401_and_changes_nothing(
    secured: SecuredFactory, files: tuple[Path, ...], keys: Keys
) -> None:
    statuses: Counter[int] = Counter()
    async with secured(identity=IdentitySettings(secret=SECRET, keys=files)) as edge:
        for name, token in attacks(keys, SECRET):
            if not token.isascii() or any(c in token for c in "\r\n\x00"):
                continue
            answer = await edge.http.post("/callbacks/sessions", json={}, headers=bearer(token))
            statuses[answer.status_code] += 1
            counts("JWT attack, over HTTP", answer.status_code, answer.text + str(answer.headers))
            assert answer.status_code == 401, (name, answer.text)
            assert token[:40] not in answer.text or len(token) < 10, name
        mallory = edge.as_("mallory")
        listed = await mallory.http.get("/callbacks/sessions")

    assert sum(statuses.values()) > 120 and set(statuses) == {401}
    assert listed.json()["total"] == 0


def test_issuer_and_audience_are_held_to_where_they_are_configured(keys: Keys) -> None:
    strict = Verifier(IdentitySettings(secret=SECRET, issuer="https://issuer", audience=("callboard", "other")))

    def tried(**given: Any) -> str | None:
        try:
            return strict.verify_now(forge({"alg": "HS256"}, claims(**given), SECRET.encode())).id
        except Problem as refused:
            return refused.detail

    right = {"iss": "https://issuer", "aud": "callboard"}
    assert tried(**right) == "https://issuer mallory"
    assert tried(**{**right, "aud": ["x", "other"]}) == "https://issuer mallory"
    assert "another issuer" in str(tried(**{**right, "iss": "https://issuer/"}))
    assert "another issuer" in str(tried(aud="callboard"))
    for wrong in ("callboar", "callboard ", [], "", ["x"]):
        assert "another audience" in str(tried(**{**right, "aud": wrong})), wrong
    assert "another audience" in str(tried(iss="https://issuer"))


def test_clocks_may_lie_apart_by_the_leeway_and_a_token_may_be_too_good(monkeypatch: pytest.MonkeyPatch) -> None:
    verifier = Verifier(IdentitySettings(secret=SECRET, leeway=10, max_lifetime=3600))
    now = set_clock(monkeypatch, "edge.auth.token", standing=True).time()

    def code(**given: float) -> str:
        try:
            verifier.verify_now(forge({"alg": "HS256"}, claims(**given), SECRET.encode()))
        except Problem as refused:
            return refused.code
        return "believed"

    assert code(exp=now - 8) == "believed" and code(exp=now - 12) == "token_expired"
    assert code(nbf=now + 8) == "believed" and code(nbf=now + 12) == "bad_token"
    assert code(exp=now + 3500) == "believed" and code(exp=now + 4000) == "bad_token"


async def test_two_tokens_or_another_scheme_are_refused(edge: SecuredEdge) -> None:
    good = mint(SECRET, "alice", Grants.of(operate=True), 60, None, None)
    for headers in (
        [("Authorization", f"Bearer {good}"), ("Authorization", f"Bearer {good}")],
        [("Authorization", f"Bearer {good}"), ("authorization", "Bearer x.y.z")],
        [("Authorization", f"Bearer {good}, Bearer {good}")],
        [("Authorization", f"Basic {good}")],
        [("Authorization", "Bearer")],
        [("Authorization", "")],
        [("Authorization", good)],
        [("Authorization", f"Bearer {good} {good}")],
        [("X-Authorization", f"Bearer {good}")],
        [("Cookie", f"Authorization=Bearer {good}")],
    ):
        answer = await edge.http.get("/callbacks/stats", headers=headers)
        assert answer.status_code == (400 if len(headers) > 1 else 401), headers
    assert (await edge.http.get("/callbacks/stats", headers={"authorization": f"bearer  {good}"})).status_code == 200


async def test_a_token_in_the_address_is_refused_unless_a_setting_allows_it(secured: SecuredFactory) -> None:
    good = mint(SECRET, "alice", Grants.of(operate=True), 60, None, None)
    async with secured() as closed, secured(identity=IdentitySettings(secret=SECRET, token_in_query=True)) as allowing:
        for name in ("token", "access_token"):
            path = f"/callbacks/stats?{name}={good}"
            refused = await closed.http.get(path)
            twice = await closed.http.get(path, headers=bearer(good))
            assert (refused.status_code, refused.json()["code"]) == (401, "token_in_query")
            assert (twice.status_code, twice.json()["code"]) == (401, "token_in_query")
            assert good not in refused.text
            assert (await allowing.http.get(path)).status_code == 200
            assert (await allowing.http.get(path, headers=bearer(good))).status_code == 401


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
        max_leaves=10,
    ),
    st.sampled_from(["sub", "exp", "nbf", "iat", "iss", "aud", "callboard", "read", "publish", "command", "operate"]),
)
def test_whatever_the_claims_are_they_are_read_or_refused(value: Any, where: str) -> None:
    given_claims = claims(iss="i", aud="a", nbf=0, iat=0)
    if where in ("read", "publish", "command", "operate"):
        given_claims["callboard"] = {**given_claims["callboard"], where: value}
    else:
        given_claims[where] = value
    token = forge({"alg": "HS256"}, given_claims, SECRET.encode())

    try:
        principal = Verifier(IdentitySettings(secret=SECRET)).verify_now(token)
    except Problem as refused:
        counts("JWT claims", refused.status, refused.detail)
        assert refused.status == 401
        assert refused.headers["WWW-Authenticate"].isprintable() and refused.headers["WWW-Authenticate"].isascii()
    else:
        counts("JWT claims")
        assert principal.id and principal.id.isprintable() and principal.expires > time.time()
        assert all(isinstance(pattern, str) for pattern in principal.grants.read)


@settings(max_examples=300)
@given(
    st.text(max_size=400)
    | st.from_regex(r"[A-Za-z0-9_-]{1,80}\.[A-Za-z0-9_-]{1,80}\.[A-Za-z0-9_-]{1,80}", fullmatch=True)
)
def test_whatever_the_token_is_it_is_refused_and_nothing_else(token: str) -> None:
    with pytest.raises(Problem) as refused:
        Verifier(IdentitySettings(secret=SECRET)).verify_now(token)

    counts("JWT, any text", refused.value.status, refused.value.detail)
    assert refused.value.code == "bad_token"


def test_a_secret_in_a_file_has_no_place_in_a_token_s_head(keys: Keys, tmp_path: Path) -> None:
    """A JWKS file may hold a secret, under a kid; a token asks for it by name, and of another name it gets none."""
    path = tmp_path / "secrets.json"
    path.write_text(json.dumps({"kty": "oct", "k": "a" * 64, "kid": "2026-10"}))
    verifier = Verifier(IdentitySettings(keys=(path,)))
    material = load([path])[0].material

    assert verifier.verify_now(jwt.encode(claims(), material, "HS256", headers={"kid": "2026-10"})).id == "- mallory"
    with pytest.raises(Problem):
        verifier.verify_now(jwt.encode(claims(), material, "HS256", headers={"kid": "2026-11"}))
