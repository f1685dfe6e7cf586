"""Secrets and keys are read, generated, and sign as their kind does."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from edge.errors import Problem
from edge.sessions.endpoint.parse import parse_change, parse_endpoint
from edge.sessions.endpoint.secret import key_of, new_secret, public_key_of
from edge.webhooks.client.signature import sign

URL = "https://receiver.example/hook"
BODY = b'{"text":"\xc3\xbc"}'
STRANGERS = "whsk_" + base64.b64encode(bytes(32) + bytes(range(32))).decode()


def test_a_seed_alone_is_a_key_too_and_the_vector_of_rfc_8032_is_met() -> None:
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    public = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    alone, pair = ["whsk_" + base64.b64encode(raw).decode() for raw in (seed, seed + public)]

    assert public_key_of(alone) == public_key_of(pair) == "whpk_" + base64.b64encode(public).decode()
    assert sign([key_of(alone)], "msg_1", BODY, at=1) == sign([key_of(pair)], "msg_1", BODY, at=1)


@pytest.mark.parametrize(
    "secret", ["whsk_", "whsk_AAAA", "whsk_" + "A" * 60, "whpk_" + "A" * 43 + "=", STRANGERS, 7, "whsec_AAAA"]
)
def test_what_is_no_key_is_refused(secret: Any) -> None:
    with pytest.raises(Problem) as refused:
        parse_endpoint({"webhook_url": URL, "secret": secret})

    assert (refused.value.code, refused.value.more["field"]) == ("bad_webhook", "secret")


def test_a_key_is_made_by_how_it_is_to_sign() -> None:
    made = parse_endpoint({"webhook_url": URL, "signing": "ed25519"})

    assert made.secret.startswith("whsk_")
    shown = made.describe()
    assert shown["signing"] == "ed25519" and shown["webhook_public_key"] == public_key_of(made.secret)
    assert made.secret not in repr(made) + str(shown)
    assert parse_endpoint({"webhook_url": URL}).describe()["webhook_public_key"] is None
    for body in ({"signing": "rsa"}, {"signing": "ed25519", "secret": new_secret()}):
        with pytest.raises(Problem):
            parse_endpoint({"webhook_url": URL, **body})
    # A secret is changed where its successor is shown.
    with pytest.raises(Problem):
        parse_change(made, {"signing": "hmac-sha256"}, "callback")
    assert parse_change(made, {"signing": "ed25519", "timeout": 5}, "callback").secret == made.secret
