from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from edge.errors import Problem
from edge.sessions.endpoint.certificates import ClientCertificate
from edge.sessions.endpoint.settings import EndpointSettings, parse_change, parse_endpoint
from edge.webhooks.client.outcome import Verdict
from edge.webhooks.client.sender import Sender
from tests.edge.conftest import RunningEdge
from tests.edge.webhooks.stage import LOCAL, Receiver
from tests.servers import Authority, Pair

URL = "https://receiver.example/hook"


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


def encrypted(pair: Pair) -> str:
    key = load_pem_private_key(pair.key.read_bytes(), None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")).decode()


def test_what_is_no_certificate_is_refused(authority: Authority) -> None:
    one, two = given(authority.issue("one")), given(authority.issue("two"))
    wrong: list[tuple[str, Any]] = [
        ("client_certificate", "PEM"),
        ("client_certificate", {}),
        ("client_certificate", {"certificate": one["certificate"]}),
        ("client_certificate", {**one, "password": "x"}),
        ("client_certificate", {**one, "key": two["key"]}),
        ("client_certificate", {**one, "key": "***"}),
        ("client_certificate", {**one, "key": encrypted(authority.issue("three"))}),
        ("client_certificate", {**one, "certificate": one["key"]}),
        ("client_certificate", {**one, "certificate": one["certificate"] + " " * 20_000}),
        ("client_certificate", given(authority.issue("four", expired=True))),
        ("ca", "/etc/ssl/ca.pem"),
        ("ca", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ("ca", one["key"]),
        ("ca", 7),
    ]
    for field, value in wrong:
        with pytest.raises(Problem) as refused:
            parse_endpoint({"webhook_url": URL, field: value})
        assert (refused.value.code, refused.value.more["field"]) == ("bad_webhook", field), value
        assert one["key"].splitlines()[1] not in refused.value.detail
    for field, value in (("client_certificate", one), ("ca", one["certificate"])):
        with pytest.raises(Problem):
            parse_endpoint({"webhook_url": "http://127.0.0.1/", field: value})


def test_a_key_is_never_shown_and_stays_over_changes(authority: Authority) -> None:
    pair = given(authority.issue("client"))
    made = parse_endpoint({"webhook_url": URL, "client_certificate": pair, "ca": authority.cert.read_text()})

    changed = parse_change(made, {"timeout": 7}, "callback")

    assert (changed.client_certificate, changed.ca) == (made.client_certificate, made.ca)
    shown = changed.describe()
    assert shown["client_certificate"]["certificate"] == pair["certificate"]
    assert shown["client_certificate"]["key"] == "***" and shown["client_certificate"]["not_after"].startswith("20")
    secret = pair["key"].splitlines()[1]
    assert secret not in str(shown) + repr(changed) + repr(changed.client_certificate)
    assert parse_change(changed, {"client_certificate": None, "ca": None}, "callback").client_certificate is None


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
