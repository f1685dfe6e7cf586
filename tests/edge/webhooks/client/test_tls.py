from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from edge.sessions.endpoint.certificates import ClientCertificate
from edge.sessions.endpoint.parse import parse_endpoint
from edge.sessions.endpoint.settings import EndpointSettings
from edge.webhooks.client.outcome import Verdict
from edge.webhooks.client.sender import Sender
from tests.edge.conftest import RunningEdge
from tests.edge.webhooks.stage import LOCAL, Receiver
from tests.servers import Authority, Pair


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def given(pair: Pair) -> dict[str, str]:
    return {"certificate": pair.cert.read_text(), "key": pair.key.read_text()}


async def test_a_client_certificate_is_shown_and_an_authority_of_ones_own_believed(authority: Authority) -> None:
    receiver, subjects, ports = Receiver(), [], set()
    receiver.use_tls(authority.issue("receiver", "127.0.0.1"), clients=authority.cert)

    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        subjects.append(dict(pair for (pair,) in request.transport.get_extra_info("peercert")["subject"]))
        ports.add(request.transport.get_extra_info("peername")[1])
        return web.Response()

    receiver.answer = answer
    async with receiver.serving(), Sender(LOCAL) as sender:
        body = {"client_certificate": given(authority.issue("client")), "ca": authority.cert.read_text()}
        # Two sessions with the same certificate share connections.
        for _ in range(2):
            endpoint = parse_endpoint({"webhook_url": receiver.url, **body})
            for _ in range(2):
                assert (await sender.post(endpoint, "d1", "sess_1", b"{}")).verdict is Verdict.DELIVERED

    assert subjects == [{"commonName": "client"}] * 4 and len(ports) == 1


async def test_without_the_right_certificate_the_attempt_says_so(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other").issue("stranger")
    receiver = Receiver()
    receiver.use_tls(authority.issue("receiver", "127.0.0.1"), clients=authority.cert)
    ca = authority.cert.read_text()
    async with receiver.serving(), Sender(LOCAL) as sender:
        none, wrong, distrusted = [
            await sender.post(EndpointSettings(url=receiver.url, **more), "d1", "sess_1", b"{}")
            for more in (
                {"ca": ca},
                {"ca": ca, "client_certificate": ClientCertificate(**given(stranger))},
                {"client_certificate": ClientCertificate(**given(authority.issue("client")))},
            )
        ]

    assert [each.verdict for each in (none, wrong, distrusted)] == [Verdict.RETRY] * 3
    # A reset may overtake the alert.
    assert {none.fault, wrong.fault} <= {"tls", "reset"} and distrusted.fault == "tls"
    assert all("alert" in each.note or "client certificate" in each.note for each in (none, wrong))
    assert "certificate verify failed" in distrusted.note
    assert receiver.posts == []


async def test_connections_of_one_certificate_carry_nothing_of_another(authority: Authority) -> None:
    receiver, names = Receiver(), []
    receiver.use_tls(authority.issue("receiver", "127.0.0.1"), clients=authority.cert)

    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        names.append(request.transport.get_extra_info("peercert")["subject"][0][0][1])
        return web.Response()

    receiver.answer = answer
    ca = authority.cert.read_text()
    async with receiver.serving(), Sender(LOCAL) as sender:
        endpoints = [
            EndpointSettings(
                url=receiver.url, ca=ca, client_certificate=ClientCertificate(**given(authority.issue(name)))
            )
            for name in ("one", "two")
        ]
        for endpoint in endpoints * 3:
            outcome = await sender.post(endpoint, "d1", "sess_1", b"{}")
            assert outcome.verdict is Verdict.DELIVERED, outcome

    assert names == ["one", "two"] * 3


async def test_a_session_with_a_client_certificate_is_delivered_and_shows_no_key(
    edge: RunningEdge, authority: Authority, entity: str
) -> None:
    receiver = Receiver()
    receiver.use_tls(authority.issue("receiver", "127.0.0.1"), clients=authority.cert)
    pair = given(authority.issue("client"))
    async with receiver.serving():
        made = await edge.http.post(
            "/callbacks/sessions",
            json={
                "delivery_method": "webhook",
                "webhook_url": receiver.url,
                "subjects": [f"job.{entity}.>"],
                "client_certificate": pair,
                "ca": authority.cert.read_text(),
                "verify": "post",
            },
        )
    shown = await edge.http.get(f"/callbacks/sessions/{made.json()['session_id']}")

    assert made.status_code == 201 and made.json()["verification"]["ok"] is True
    assert pair["key"].splitlines()[1] not in made.text + shown.text
    refused = await edge.http.patch(
        f"/callbacks/sessions/{made.json()['session_id']}", json={"client_certificate": {**pair, "key": "***"}}
    )
    assert (refused.status_code, refused.json()["field"]) == (422, "client_certificate")
