"""Client certificates are checked, and their keys never shown."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from edge.errors import Problem
from edge.sessions.endpoint.parse import parse_change, parse_endpoint
from tests.edge.webhooks.client.test_tls import authority, given
from tests.servers import Authority, Pair

URL = "https://receiver.example/hook"

__all__ = ["authority"]


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
