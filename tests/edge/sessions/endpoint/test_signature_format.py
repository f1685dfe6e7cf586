from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks.webhooks import Webhook

from edge.errors import Problem
from edge.sessions.endpoint.parse import parse_change, parse_endpoint
from edge.sessions.endpoint.secret import key_of, new_secret, public_key_of
from edge.sessions.endpoint.settings import EndpointSettings
from edge.webhooks.client.sender import Sender
from edge.webhooks.client.signature import sign
from tests.edge.conftest import RunningEdge
from tests.edge.webhooks.stage import LOCAL, Receiver
from tests.waiting import eventually

URL = "https://receiver.example/hook"
BODY = b'{"text":"\xc3\xbc"}'


def verify_asymmetric(public: str, headers: dict[str, str], body: bytes) -> None:
    """Verifies as the standard describes it: whpk_ and base64, over id, time and body."""
    assert public.startswith("whpk_")
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_")))
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    for each in headers["webhook-signature"].split(" "):
        version, _, text = each.partition(",")
        if version == "v1a":
            key.verify(base64.b64decode(text), content)
            return
    raise AssertionError("there is no v1a signature")


def test_an_ed25519_key_signs_as_v1a_and_its_public_key_verifies() -> None:
    secret = new_secret("ed25519")
    public = public_key_of(secret)
    assert public is not None and len(base64.b64decode(secret.removeprefix("whsk_"))) == 64

    headers = sign([key_of(secret)], "msg_1", BODY)

    verify_asymmetric(public, headers, BODY)
    with pytest.raises(InvalidSignature):
        verify_asymmetric(public, headers, BODY + b" ")


def test_during_a_rotation_from_hmac_to_ed25519_either_verifies() -> None:
    old, new = new_secret(), new_secret("ed25519")
    public = public_key_of(new)
    assert public is not None

    headers = sign([key_of(new), key_of(old)], "msg_1", BODY)

    Webhook(old).verify(BODY, headers)
    verify_asymmetric(public, headers, BODY)


# A seed with a public key behind it that belongs to another one.


FORMATS: dict[str, dict[str, Any]] = {
    "github": {"headers": {"X-Hub-Signature-256": "sha256={hex}"}, "content": "{body}", "key": "text"},
    "stripe": {
        "headers": {"Stripe-Signature": "t={timestamp},v1={hex}"},
        "content": "{timestamp}.{body}",
        "key": "text",
    },
    "svix": {"headers": {"svix-id": "{id}", "svix-timestamp": "{timestamp}", "svix-signature": "{standard}"}},
    "base64": {"headers": {"X-Acme-Hmac": "{base64}"}, "content": "{body}", "hash": "sha512"},
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("gzip_above", [None, 10])
async def test_a_format_of_ones_own_is_what_its_receivers_expect(
    receiver: Receiver, name: str, gzip_above: int | None
) -> None:
    made = parse_endpoint({"webhook_url": URL, "signature": FORMATS[name]})
    endpoint = EndpointSettings(
        url=receiver.url, secret=made.secret, signature=made.signature, gzip_above=gzip_above
    ).rotated(new_secret(), 60.0)
    body = BODY * 100

    async with Sender(LOCAL) as sender:
        await sender.post(endpoint, "d1", "sess_1", body)

    (post,) = receiver.posts
    headers, stamp = post.headers, post.headers["webhook-timestamp"].encode()
    assert ("content-encoding" in headers) == (gzip_above is not None) and post.body == body
    text, key = endpoint.secret.encode(), key_of(endpoint.secret)
    assert isinstance(key, bytes)
    match name:
        case "github":
            assert headers["x-hub-signature-256"] == "sha256=" + hmac.new(text, body, hashlib.sha256).hexdigest()
        case "stripe":
            signed = hmac.new(text, stamp + b"." + body, hashlib.sha256).hexdigest()
            assert headers["stripe-signature"] == f"t={stamp.decode()},v1={signed}"
        case "svix":
            named = {each: headers[f"svix-{each}"] for each in ("id", "timestamp", "signature")}
            Webhook(endpoint.secret).verify(
                body, {f"webhook-{each}": text for each, text in named.items()}, json_parse=False
            )
        case "base64":
            expected = base64.b64encode(hmac.digest(key, body, hashlib.sha512)).decode()
            assert headers["x-acme-hmac"] == expected
    Webhook(endpoint.secret).verify(body, headers, json_parse=False)


async def test_a_format_of_ones_own_signs_with_ed25519_too(receiver: Receiver) -> None:
    body = {"webhook_url": URL, "signing": "ed25519", "signature": {"headers": {"X-Sig": "{hex}"}, "content": "{body}"}}
    made = parse_endpoint(body)

    async with Sender(LOCAL) as sender:
        await sender.post(
            EndpointSettings(url=receiver.url, secret=made.secret, signature=made.signature), "d1", "sess_1", BODY
        )

    public = Ed25519PublicKey.from_public_bytes(base64.b64decode((public_key_of(made.secret) or "")[5:]))
    public.verify(bytes.fromhex(receiver.posts[0].headers["x-sig"]), BODY)


@pytest.mark.parametrize(
    "signature",
    [
        "sha256",
        {},
        {"headers": {}},
        {"headers": {"X-Sig": "{hex}"}, "colour": "red"},
        {"headers": {"X-Sig": "no signature"}},
        {"headers": {"X-Sig": "{hex} {secret}"}},
        {"headers": {"X-Sig": "{hex} {id.__class__}"}},
        {"headers": {"X-Sig": "{hex} {"}},
        {"headers": {"X-Sig": "{hex}\r\nX-Other: 1"}},
        {"headers": {"X-Sig": "{hex}\u00fc"}},
        {"headers": {"X-Sig": 7}},
        {"headers": {"X Sig": "{hex}"}},
        {"headers": {"webhook-signature": "{hex}"}},
        {"headers": {"Content-Length": "{hex}"}},
        {"headers": {"Host": "{hex}"}},
        {"headers": {"X-Given": "{hex}"}},
        {"headers": {"X-Sig": "{hex}", "x-sig": "{base64}"}},
        {"headers": {f"X-{n}": "{hex}" for n in range(9)}},
        {"headers": {"X-Sig": "{hex}"}, "content": "{timestamp}"},
        {"headers": {"X-Sig": "{hex}"}, "content": "{hex}{body}"},
        {"headers": {"X-Sig": "{hex}"}, "hash": "md5"},
        {"headers": {"X-Sig": "{hex}"}, "key": "file"},
    ],
)
def test_a_format_that_cannot_be_is_refused(signature: Any) -> None:
    with pytest.raises(Problem) as refused:
        parse_endpoint({"webhook_url": URL, "headers": {"X-Given": "1"}, "signature": signature})

    assert (refused.value.code, refused.value.more["field"]) == ("bad_webhook", "signature")


def test_a_format_stays_over_changes_until_it_is_taken_away() -> None:
    made = parse_endpoint({"webhook_url": URL, "signature": FORMATS["stripe"]})

    changed = parse_change(made, {"timeout": 7}, "callback")

    assert changed.signature == made.signature and changed.describe()["signature"] == FORMATS["stripe"]
    assert parse_change(changed, {"signature": None}, "callback").signature is None
    with pytest.raises(Problem):
        parse_change(changed, {"headers": {"Stripe-Signature": "mine"}}, "callback")


async def test_a_session_is_made_rotated_and_served_with_ed25519(
    edge: RunningEdge, receiver: Receiver, entity: str
) -> None:
    made = (
        await edge.http.post(
            "/callbacks/sessions",
            json={
                "delivery_method": "webhook",
                "webhook_url": receiver.url,
                "subjects": [f"job.{entity}.>"],
                "signing": "ed25519",
                "signature": FORMATS["svix"],
            },
        )
    ).json()
    base = f"/callbacks/sessions/{made['session_id']}"
    assert made["webhook_secret"].startswith("whsk_") and made["webhook_public_key"].startswith("whpk_")

    await edge.numbers(entity, 1)
    await eventually(lambda: len(receiver.posts) == 1)
    verify_asymmetric(made["webhook_public_key"], receiver.posts[0].headers, receiver.posts[0].body)
    again = (await edge.http.post(f"{base}/secret/rotate", json={})).json()
    assert again["webhook_secret"].startswith("whsk_") and again["webhook_public_key"] != made["webhook_public_key"]
    shared = (await edge.http.post(f"{base}/secret/rotate", json={"signing": "hmac-sha256"})).json()
    assert shared["webhook_secret"].startswith("whsec_") and shared["webhook_public_key"] is None
    shown = (await edge.http.get(base)).text
    assert not any(each["webhook_secret"] in shown for each in (made, again, shared))
    refused = await edge.http.patch(base, json={"signature": {"headers": {"X-Sig": "{secret}"}}})
    assert (refused.status_code, refused.json()["field"]) == (422, "signature")

    await edge.numbers(entity, 1)
    await eventually(lambda: len(receiver.posts) == 2)
    last = receiver.posts[-1]
    assert json.loads(last.body)["session_id"] == made["session_id"]
    Webhook(shared["webhook_secret"]).verify(last.body, last.headers)
    verify_asymmetric(again["webhook_public_key"], last.headers, last.body)
