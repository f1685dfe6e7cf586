"""The settings of an endpoint survive the bucket, show no secret, and rotate secrets."""

from __future__ import annotations

import time

import msgspec

from edge.sessions.endpoint.parse import parse_endpoint
from edge.sessions.endpoint.secret import new_secret
from edge.sessions.endpoint.settings import MAX_OLD_SECRETS, EndpointSettings

GUIDE = {
    "delivery_method": "webhook",
    "webhook_url": "https://your-app.com/callbacks",
    "timeout": 30,
    "retry_attempts": 3,
    "headers": {"Authorization": "Bearer token", "Content-Type": "application/json"},
}


def test_an_endpoint_survives_the_bucket():
    endpoint = parse_endpoint({**GUIDE, "retry_attempts": 7})

    assert msgspec.json.decode(msgspec.json.encode(endpoint), type=EndpointSettings) == endpoint


def test_a_description_shows_no_secret():
    endpoint = parse_endpoint({**GUIDE, "webhook_url": "https://a.example/hook?token=geheim"})

    text = str(endpoint.describe()) + repr(endpoint)

    assert "geheim" not in text and "Bearer" not in text and endpoint.secret not in text
    assert endpoint.describe()["headers"] == {"Authorization": "***"}
    assert endpoint.describe()["webhook_secret_set"] is True
    assert endpoint.destination == "https://a.example/hook"


def test_a_rotated_secret_signs_beside_the_new_one_and_for_so_long() -> None:
    endpoint = EndpointSettings(url="https://a.example/")

    rotated = endpoint.rotated(new_secret(), 100.0)
    at_once = endpoint.rotated(new_secret(), 0.0)
    many = endpoint
    for _ in range(10):
        many = many.rotated(new_secret(), 100.0)

    assert [rotated.key, endpoint.key] == rotated.keys
    assert time.time() + 90 < rotated.old_secrets[0].until < time.time() + 110
    assert at_once.keys == [at_once.key]
    assert len(many.old_secrets) == MAX_OLD_SECRETS
    # One whose time is over signs no more.
    expired = msgspec.structs.replace(rotated, old_secrets=[msgspec.structs.replace(rotated.old_secrets[0], until=1.0)])
    assert expired.keys == [rotated.key]
    assert endpoint.secret not in repr(rotated) + str(rotated.describe()) + repr(rotated.old_secrets)
