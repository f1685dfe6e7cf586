from __future__ import annotations

import base64

import msgspec
import pytest

from edge.problem import Problem
from edge.webhooks.endpoint import EndpointSettings, parse_endpoint

GUIDE = {
    "delivery_method": "webhook",
    "webhook_url": "https://your-app.com/callbacks",
    "timeout": 30,
    "retry_attempts": 3,
    "headers": {"Authorization": "Bearer token", "Content-Type": "application/json"},
}


def test_the_sample_of_the_guide_is_taken():
    endpoint = parse_endpoint(GUIDE)

    assert endpoint.url == "https://your-app.com/callbacks"
    assert (endpoint.timeout, endpoint.retry_attempts) == (30.0, 3)
    assert endpoint.headers == {"Authorization": "Bearer token"}


def test_what_is_not_given_has_the_defaults_of_the_guide_and_a_secret_of_its_own():
    one, other = (parse_endpoint({"webhook_url": "https://a.example/"}) for _ in range(2))

    assert (one.timeout, one.retry_attempts, one.headers) == (30.0, 3, {})
    assert one.secret.startswith("whsec_") and len(one.key) == 32
    assert one.secret != other.secret


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


@pytest.mark.parametrize("url", [None, ""])
def test_a_missing_url_is_said_to_be_missing(url: str | None):
    with pytest.raises(Problem) as refused:
        parse_endpoint({"webhook_url": url})

    assert refused.value.code == "missing_field"


@pytest.mark.parametrize(
    "url",
    [
        7,
        "ftp://a.example/",
        "file:///etc/passwd",
        "//a.example/",
        "https://",
        "https:///path",
        "https://a.example:0/",
        "https://a.example:99999/",
        "https://[::1/",
        "https://user:pass@a.example/",
        "https://user@a.example/",
        "https://a.example/#part",
        "https://a.example/a b",
        "https://a.example/\r\nX: y",
        "https://a.example\\@b.example/",
        "https://a.example/\ud800",
        "https://a.example/" + "x" * 2048,
    ],
)
def test_a_bad_url_is_refused(url: object):
    with pytest.raises(Problem) as refused:
        parse_endpoint({"webhook_url": url})

    assert refused.value.code == "bad_webhook"


@pytest.mark.parametrize(
    "fields",
    [
        {"timeout": 0},
        {"timeout": 0.09},
        {"timeout": 61},
        {"timeout": "30"},
        {"timeout": True},
        {"timeout": float("nan")},
        {"timeout": float("inf")},
        {"retry_attempts": -1},
        {"retry_attempts": 21},
        {"retry_attempts": 2.5},
        {"retry_attempts": True},
        {"headers": ["a"]},
        {"headers": {"A": 1}},
        {"headers": {"": "x"}},
        {"headers": {"A B": "x"}},
        {"headers": {"A": "x\r\nB: y"}},
        {"headers": {"A": "x\x00"}},
        {"headers": {"A": "ü"}},
        {"headers": {"A": "1", "a": "2"}},
        {"headers": {f"H{n}": "x" for n in range(51)}},
        {"headers": {"A": "x" * 4096}},
        {"headers": {"Content-Type": "text/plain"}},
        {"secret": ""},
        {"secret": 5},
        {"secret": base64.b64encode(b"x" * 32).decode()},
        {"secret": "whsec_" + base64.b64encode(b"x" * 23).decode()},
        {"secret": "whsec_" + base64.b64encode(b"x" * 65).decode()},
        {"secret": "whsec_not base64!"},
    ],
    ids=str,
)
def test_a_bad_field_is_refused(fields: dict[str, object]):
    with pytest.raises(Problem) as refused:
        parse_endpoint({"webhook_url": "https://a.example/", **fields})

    assert refused.value.code == "bad_webhook"


@pytest.mark.parametrize(
    "name",
    ["Host", "content-length", "Transfer-Encoding", "Connection", "TE", "Upgrade", "Webhook-Id", "webhook-signature",
     "Expect", "Proxy-Authorization", "Keep-Alive", "Trailer", "X-Forwarded-For", "X-Callboard-Session", "Content-Encoding"],
)  # fmt: skip
def test_a_header_that_is_not_a_sessions_to_set_is_refused(name: str):
    with pytest.raises(Problem) as refused:
        parse_endpoint({"webhook_url": "https://a.example/", "headers": {name: "x"}})

    assert refused.value.code == "bad_webhook"


@pytest.mark.parametrize("length", [24, 64])
def test_a_secret_of_the_standards_length_is_kept(length: int):
    secret = "whsec_" + base64.b64encode(b"k" * length).decode()

    endpoint = parse_endpoint({"webhook_url": "https://a.example/", "secret": secret})

    assert endpoint.secret == secret and endpoint.key == b"k" * length
