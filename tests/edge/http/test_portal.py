"""The portal: a token for one session opens the page of its endpoint, and nothing else of the whole application."""

from __future__ import annotations

import re

import pytest
import websockets
from starlette.routing import Route, WebSocketRoute

from edge.app import ACCESS, routes
from edge.auth.authenticator import Access
from edge.auth.grants import Grants
from edge.auth.token import mint
from edge.settings import EdgeSettings
from tests.edge.auth.conftest import SECRET, SecuredEdge, SecuredFactory, bearer, secured
from tests.edge.conftest import UNHURRIED

__all__ = ["secured"]

SESSION = "/callbacks/sessions/{session_id}"
# What who has such a token may ask for, of its own session.
ALLOWED = {
    ("GET", SESSION),
    *(
        ("GET", f"{SESSION}/{way}")
        for way in ("stats", "health", "attempts", "deliveries/{delivery}", "recoveries", "recoveries/{recovery}")
    ),
    *(
        ("POST", f"{SESSION}/{way}")
        for way in ("test", "resend", "recover", "replay", "enable", "disable", "secret/rotate", "verify")
    ),
    ("DELETE", f"{SESSION}/recoveries/{{recovery}}"),
}
HOOK = {"delivery_method": "webhook", "webhook_url": "http://127.0.0.1:9/"}


def addresses() -> list[tuple[str, str]]:
    """Every route that wants a token, and the one that asks for it in its handler."""
    return [
        (method, route.path)
        for route in routes()
        if isinstance(route, Route)
        and (ACCESS.get(route.path) is not Access.OPEN or route.path == "/runs/{run}/picture")
        for method in sorted(route.methods or ())
        if method != "HEAD"
    ]


def filled(template: str, session: str) -> str:
    return re.sub(r"\{[^}]+\}", "1", template.replace("{session_id}", session))


def guest_of(edge: SecuredEdge, *sessions: str, subject: str = "guest") -> SecuredEdge:
    return edge.showing(mint(SECRET, subject, Grants(sessions=sessions), 60, None, None))


@pytest.mark.slow
async def test_a_token_for_one_session_opens_its_endpoint_and_no_other_route(secured: SecuredFactory) -> None:
    async with secured() as edge:
        alice = edge.as_("alice", read=[">"])
        mine, other = await alice.session(**HOOK), await alice.session(**HOOK)
        # Of the same subject as the owner: its name alone opens nothing.
        guest = guest_of(edge, mine, subject="alice")

        assert {address for address in addresses() if address in ALLOWED} == ALLOWED
        for method, template in addresses():
            for session in (mine, other):
                answer = await guest.http.request(method, filled(template, session))
                about = (method, template, session == mine, answer.text)
                if (method, template) in ALLOWED and session == mine:
                    assert answer.status_code not in (401, 403), about
                    assert answer.status_code != 404 or answer.json()["code"] == "recovery_not_found", about
                else:
                    assert answer.status_code in (403, 404), about
                if "{session_id}" not in template:
                    break
        for route in routes():
            if isinstance(route, WebSocketRoute):
                with pytest.raises(websockets.InvalidStatus) as refused:
                    address = f"ws://127.0.0.1:{edge.port}{filled(route.path, mine)}"
                    await websockets.connect(address, additional_headers=bearer(guest.token), **UNHURRIED).__aenter__()
                assert refused.value.response.status_code in (403, 404), route.path
        assert (await alice.http.get(f"/callbacks/sessions/{mine}")).status_code == 200


async def test_the_owner_makes_a_link_and_others_do_not(secured: SecuredFactory) -> None:
    async with secured() as edge:
        alice, bob = edge.as_("alice", read=[">"]), edge.as_("bob", read=[">"])
        session, read = await alice.session(**HOOK), await alice.session()

        made = await alice.http.post(f"/callbacks/sessions/{session}/portal", json={"ttl": 600})
        answer = made.json()
        shown = await edge.showing(answer["token"]).http.get(f"/callbacks/sessions/{session}/health")
        denied = await bob.http.post(f"/callbacks/sessions/{session}/portal", json={})
        reader = await alice.http.post(f"/callbacks/sessions/{read}/portal", json={})

        assert made.status_code == 201 and answer["path"] == f"/portal/{session}#token={answer['token']}"
        assert shown.status_code == 200 and shown.json()["session_id"] == session
        assert (denied.status_code, denied.json()["code"]) == (404, "session_not_found")
        assert (reader.status_code, reader.json()["code"]) == (409, "not_a_webhook")


async def test_a_token_with_sessions_and_another_right_is_refused(secured: SecuredFactory) -> None:
    mixed = mint(SECRET, "alice", Grants(read=(">",), sessions=("sess_0123456789abcdef",)), 60, None, None)
    malformed = mint(SECRET, "alice", Grants(sessions=("*",)), 60, None, None)
    async with secured() as edge:
        for text in (mixed, malformed):
            answer = await edge.showing(text).http.get("/me")
            assert (answer.status_code, answer.json()["code"]) == (401, "bad_token"), answer.text


async def test_the_page_may_stand_in_frames_of_the_named_origins_alone(secured: SecuredFactory) -> None:
    async with secured(portal_origins=("https://app.example", "https://*.shop.example:8443")) as edge:
        page = await edge.http.get("/portal/sess_0123456789abcdef")
        console = await edge.http.get("/")
    async with secured() as edge:
        closed = await edge.http.get("/portal/sess_0123456789abcdef")

    assert page.status_code == 200
    assert "frame-ancestors https://app.example https://*.shop.example:8443;" in page.headers["content-security-policy"]
    for other in (console, closed):
        assert "frame-ancestors 'none'" in other.headers["content-security-policy"]


@pytest.mark.parametrize(
    "origin", ["*", "app.example", "https://app.example/path", "https://a;script-src *", "https://a b"]
)
def test_an_origin_that_is_none_is_refused_at_the_start(origin: str) -> None:
    with pytest.raises(ValueError, match="portal_origins"):
        EdgeSettings(portal_origins=(origin,))
