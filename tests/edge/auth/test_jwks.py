"""Keys from an issuer's address: fetched, kept, rotated, and asked for no oftener than is good for the issuer."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from edge.auth.token import Verifier
from edge.errors import Problem
from edge.settings import IdentitySettings
from tests.edge.auth.attacks import Keys, claims
from tests.edge.auth.conftest import SecuredFactory, bearer
from tests.waiting import eventually


class Issuer:
    """A JWKS address that says what it is told to, and counts who asks."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer: Any = {"keys": []}
        self.status = 200
        self.headers: dict[str, str] = {}
        self.url = ""

    async def say(self, _request: web.Request) -> web.Response:
        self.asked += 1
        body = self.answer if isinstance(self.answer, bytes) else json.dumps(self.answer).encode()
        return web.Response(body=body, status=self.status, headers=self.headers)


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    found = Issuer()
    app = web.Application()
    app.router.add_get("/jwks.json", found.say)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks.json"
    yield found
    await runner.cleanup()


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys()


def _settings(issuer: Issuer, **more: Any) -> IdentitySettings:
    return IdentitySettings(jwks_url=issuer.url, audience=("callboard",), **more)


@contextlib.asynccontextmanager
async def _verifier(issuer: Issuer, **more: Any) -> AsyncIterator[Verifier]:
    verifier = Verifier(_settings(issuer, **more))
    assert verifier.jwks
    running = asyncio.ensure_future(verifier.jwks.run())
    try:
        await eventually(lambda: issuer.asked > 0)
        yield verifier
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _signed(keys: Keys, private: Any, algorithm: str, kid: str | None) -> str:
    header = {"kid": kid} if kid else {}
    return keys.sign(private, algorithm, claims(aud="callboard"), **header)


async def test_a_key_that_was_rotated_in_is_fetched_once_and_one_rotated_out_is_believed_no_more(
    issuer: Issuer, keys: Keys
) -> None:
    issuer.answer = {"keys": [keys.jwk(keys.rsa, kid="old")]}
    async with _verifier(issuer, jwks_min_interval=0.0, jwks_max_age=0.05) as verifier:
        await eventually(lambda: verifier.jwks and verifier.jwks.keys)
        assert (await verifier.verify(_signed(keys, keys.rsa, "RS256", "old"))).id == "- mallory"

        issuer.answer = {"keys": [keys.jwk(keys.ec, kid="new")]}
        assert (await verifier.verify(_signed(keys, keys.ec, "ES256", "new"))).id == "- mallory"
        with pytest.raises(Problem, match="no known key"):
            await verifier.verify(_signed(keys, keys.rsa, "RS256", "old"))


async def test_tokens_that_name_unknown_keys_make_it_ask_once_and_not_again_for_a_while(
    issuer: Issuer, keys: Keys
) -> None:
    issuer.answer = {"keys": [keys.jwk(keys.rsa, kid="a")]}
    async with _verifier(issuer, jwks_min_interval=60.0) as verifier:
        await eventually(lambda: verifier.jwks and verifier.jwks.keys)
        for place in range(50):
            with pytest.raises(Problem, match="no known key"):
                await verifier.verify(_signed(keys, keys.stranger, "RS256", f"k{place}"))

    assert issuer.asked == 1


async def test_many_who_wait_for_one_key_ask_once(issuer: Issuer, keys: Keys) -> None:
    issuer.answer = {"keys": [keys.jwk(keys.rsa, kid="a")]}
    verifier = Verifier(_settings(issuer))
    token = _signed(keys, keys.rsa, "RS256", "a")
    running = asyncio.ensure_future(verifier.jwks.run()) if verifier.jwks else None
    try:
        found = await asyncio.gather(*(verifier.verify(token) for _ in range(20)))
    finally:
        assert running
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    assert {principal.id for principal in found} == {"- mallory"} and issuer.asked == 1


async def test_while_the_issuer_is_away_what_it_said_last_holds_but_not_for_ever(issuer: Issuer, keys: Keys) -> None:
    issuer.answer = {"keys": [keys.jwk(keys.rsa, kid="a")]}
    async with _verifier(issuer, jwks_max_age=0.01, jwks_max_stale=1.0) as verifier:
        token = _signed(keys, keys.rsa, "RS256", "a")
        await eventually(lambda: verifier.jwks and verifier.jwks.keys)
        issuer.status = 500
        asked = issuer.asked
        await eventually(lambda: issuer.asked > asked)
        assert verifier.verify_now(token).id == "- mallory"
        await eventually(lambda: verifier.jwks and not verifier.jwks.keys)
        with pytest.raises(Problem) as refused:
            verifier.verify_now(token)

    assert (refused.value.code, refused.value.status) == ("keys_unavailable", 503)


@pytest.mark.parametrize(
    ("answer", "status", "headers"),
    [
        (b"", 200, {}),
        (b"not JSON", 200, {}),
        (b"[" * 100_000, 200, {}),
        (b"x" * 300_000, 200, {}),
        ({"keys": []}, 200, {}),
        ({"keys": "x"}, 200, {}),
        ({"keys": [{"kty": "oct", "k": "a" * 64}]}, 200, {}),
        ({"keys": [7, None, {"kty": "RSA"}]}, 200, {}),
        ({"keys": [{"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"}]}, 200, {}),
        (b"", 302, {"Location": "http://127.0.0.1:1/"}),
        (b"", 404, {}),
    ],
)
async def test_an_answer_that_has_no_key_for_us_gives_none(
    issuer: Issuer, answer: Any, status: int, headers: dict[str, str]
) -> None:
    issuer.answer, issuer.status, issuer.headers = answer, status, headers
    async with _verifier(issuer) as verifier:
        assert verifier.jwks and verifier.jwks.keys == []


async def test_of_an_issuer_s_keys_those_that_are_not_for_us_are_passed_over(issuer: Issuer, keys: Keys) -> None:
    strange = [{"kty": "EC", "crv": "P-521"}, {"kty": "oct", "k": "a" * 64}, {"kty": "RSA", "use": "enc"}, "x"]
    issuer.answer = {"keys": [*strange, keys.jwk(keys.ed, kid="ed"), keys.jwk(keys.ec, kid="ec", x5t="ignored")]}
    async with _verifier(issuer) as verifier:
        await eventually(lambda: verifier.jwks and verifier.jwks.keys)
        assert (await verifier.verify(_signed(keys, keys.ed, "EdDSA", "ed"))).id == "- mallory"
        assert verifier.jwks and [key.algorithm for key in verifier.jwks.keys] == ["EdDSA", "ES256"]


async def test_an_edge_believes_the_issuer_s_tokens(secured: SecuredFactory, issuer: Issuer, keys: Keys) -> None:
    issuer.answer = {"keys": [keys.jwk(keys.rsa, kid="a")]}
    async with secured(identity=_settings(issuer)) as edge:
        mine = bearer(_signed(keys, keys.rsa, "RS256", "a"))
        await eventually(lambda: _status(edge, mine, 200))
        assert await _status(edge, bearer(keys.sign(keys.rsa, "RS256", claims(aud="other"), kid="a")), 401)
        assert await _status(edge, bearer(keys.sign(keys.rsa, "RS256", claims(), kid="a")), 401)


async def _status(edge: Any, headers: dict[str, str], status: int) -> bool:
    return (await edge.http.get("/callbacks/sessions", headers=headers)).status_code == status
