from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs

import pytest
from aiohttp import web

from edge.errors import Problem
from edge.sessions.endpoint.oauth import OAuth2
from edge.sessions.endpoint.settings import EndpointSettings
from edge.webhooks.client.checks import check_endpoint
from edge.webhooks.client.outcome import Verdict
from edge.webhooks.client.sender import Sender
from edge.webhooks.client.ssrf import GuardSettings
from tests.edge.conftest import RunningEdge
from tests.edge.webhooks.stage import LOCAL, Receiver
from tests.waiting import eventually

GIVEN = {"token_url": "https://login.example/token", "client_id": "we", "client_secret": "geheim:1"}


class Login(Receiver):
    """A token endpoint: each token has a number; `lifetime` is what it says of them."""

    def __init__(self) -> None:
        super().__init__()
        self.lifetime: Any = 3600
        self.answer = self.grant

    async def grant(self, request: web.Request) -> web.Response:
        token = f"token-{len(self.posts)}"
        return web.json_response({"access_token": token, "token_type": "bearer", "expires_in": self.lifetime})

    def oauth(self, **more: Any) -> OAuth2:
        return OAuth2(**{**GIVEN, "token_url": self.url.replace("/hook", "/token"), **more})


@pytest.fixture
async def login() -> AsyncIterator[Login]:
    serving = Login()
    async with serving.serving():
        yield serving


def tokens(receiver: Receiver) -> list[str]:
    return [post.headers.get("authorization", "") for post in receiver.posts]


@pytest.mark.parametrize("auth", ["basic", "body"])
async def test_each_post_carries_a_token_that_was_fetched_once(login: Login, receiver: Receiver, auth: str) -> None:
    oauth = login.oauth(auth=auth, scope="hooks.write", audience="https://api.example/")
    async with Sender(LOCAL) as sender:
        # Another session with the same credentials, too; and several at once.
        for _ in range(2):
            endpoint = EndpointSettings(url=receiver.url, oauth2=oauth)
            outcomes = await asyncio.gather(*(sender.post(endpoint, "d1", "sess_1", b"{}") for _ in range(4)))
            assert {each.verdict for each in outcomes} == {Verdict.DELIVERED}

    assert tokens(receiver) == ["Bearer token-1"] * 8
    (asked,) = login.posts
    form = {name: value for name, (value,) in parse_qs(asked.body.decode()).items()}
    assert form.pop("grant_type") == "client_credentials"
    assert (form.pop("scope"), form.pop("audience")) == ("hooks.write", "https://api.example/")
    if auth == "basic":
        assert asked.headers["authorization"] == "Basic " + base64.b64encode(b"we:geheim%3A1").decode() and not form
    else:
        assert form == {"client_id": "we", "client_secret": "geheim:1"} and "authorization" not in asked.headers


async def test_a_token_is_fetched_again_once_it_has_expired(login: Login, receiver: Receiver) -> None:
    login.lifetime = 0
    endpoint = EndpointSettings(url=receiver.url, oauth2=login.oauth())
    async with Sender(LOCAL) as sender:
        for _ in range(3):
            await sender.post(endpoint, "d1", "sess_1", b"{}")

    assert tokens(receiver) == ["Bearer token-1", "Bearer token-2", "Bearer token-3"]


async def test_a_token_that_the_receiver_refuses_is_replaced_at_once(login: Login, receiver: Receiver) -> None:
    good = "Bearer token-1"

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=200 if request.headers["Authorization"] == good else 401)

    receiver.answer = answer
    endpoint = EndpointSettings(url=receiver.url, oauth2=login.oauth())
    async with Sender(LOCAL) as sender:
        first = await sender.post(endpoint, "d1", "sess_1", b"{}")
        good = "Bearer token-2"
        second = await sender.post(endpoint, "d1", "sess_1", b"{}")
        # One that was just fetched is not fetched again.
        good = "none"
        third = await sender.post(endpoint, "d1", "sess_1", b"{}")

    assert (first.verdict, second.verdict) == (Verdict.DELIVERED, Verdict.DELIVERED)
    assert (third.verdict, third.fault, third.status) == (Verdict.RETRY, "rejected", 401)
    assert tokens(receiver) == [f"Bearer token-{n}" for n in (1, 1, 2, 2, 3)] and len(login.posts) == 3


@pytest.mark.parametrize(
    ("status", "body", "note"),
    [
        (401, '{"error": "invalid_client", "error_description": "wrong: geheim:1"}',
         "the token endpoint answered 401: invalid_client: wrong: ***"),
        (500, "oops", "the token endpoint answered 500"),
        (302, "", "the token endpoint answered 302"),
        (200, "{}", "the token endpoint answered 200 without an access_token that can be sent"),
        (200, '{"access_token": "a\\r\\nX: b"}', "the token endpoint answered 200 without an access_token that can be sent"),
        (200, '{"access_token": "a", "token_type": "mac"}', "the token endpoint answered with a token_type other than Bearer"),
        (200, "[]", "the token endpoint answered 200 without an access_token that can be sent"),
    ],
)  # fmt: skip
async def test_without_a_token_the_attempt_says_why_and_nothing_is_sent(
    login: Login, receiver: Receiver, status: int, body: str, note: str
) -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=status, text=body, headers={"Retry-After": "7"} if status >= 400 else {})

    login.answer = refuse
    endpoint = EndpointSettings(url=receiver.url, oauth2=login.oauth())
    async with Sender(LOCAL) as sender:
        outcomes = await asyncio.gather(*(sender.post(endpoint, "d1", "sess_1", b"{}") for _ in range(5)))

    assert {(each.verdict, each.fault, each.note) for each in outcomes} == {(Verdict.RETRY, "oauth_failed", note)}
    assert {each.retry_after for each in outcomes} == {7.0 if status >= 400 else 0.0}
    # Those who waited for the answer do not ask again.
    assert receiver.posts == [] and len(login.posts) < 5


async def test_a_token_endpoint_that_is_not_there_is_told(receiver: Receiver) -> None:
    oauth = OAuth2(**{**GIVEN, "token_url": "http://127.0.0.1:1/token"})
    async with Sender(LOCAL) as sender:
        outcome = await sender.post(EndpointSettings(url=receiver.url, oauth2=oauth), "d1", "sess_1", b"{}")

    assert (outcome.verdict, outcome.fault) == (Verdict.RETRY, "oauth_failed")
    assert outcome.note == "the token endpoint cannot be asked: refused"


async def test_a_token_endpoint_at_a_denied_address_is_never_asked(login: Login, receiver: Receiver) -> None:
    settings = GuardSettings(allow_http=True, allow_cidrs=("127.0.0.1/32",), closed_ports=(login.port,))
    endpoint = EndpointSettings(url=receiver.url, oauth2=login.oauth())
    async with Sender(settings) as sender:
        outcome = await sender.post(endpoint, "d1", "sess_1", b"{}")
    with pytest.raises(Problem) as refused:
        await check_endpoint(endpoint, settings)

    assert (outcome.verdict, outcome.fault) == (Verdict.FINAL, "ssrf_blocked")
    assert refused.value.more == {"field": "oauth2", "reason": "own"}
    assert login.posts == receiver.posts == []


async def test_a_session_with_client_credentials_is_verified_and_delivered(
    edge: RunningEdge, login: Login, receiver: Receiver, entity: str
) -> None:
    oauth2 = {**GIVEN, "token_url": login.url}
    body = {
        "delivery_method": "webhook",
        "webhook_url": receiver.url,
        "subjects": [f"job.{entity}.>"],
        "verify": "post",
    }
    made = await edge.http.post("/callbacks/sessions", json={**body, "oauth2": oauth2})
    shown = await edge.http.get(f"/callbacks/sessions/{made.json()['session_id']}")
    refused = await edge.http.post(
        "/callbacks/sessions", json={**body, "oauth2": {**oauth2, "token_url": "http://10.0.0.1/"}}
    )

    assert made.json()["verification"]["ok"] is True
    assert "geheim" not in made.text + shown.text
    assert (refused.status_code, refused.json()["field"]) == (422, "oauth2")
    await edge.numbers(entity, 1)
    await eventually(lambda: len(receiver.posts) == 2)
    assert all(each.startswith("Bearer token-") for each in tokens(receiver))
