"""The webhook fields of a body are read as the settings of an endpoint, or refused by name."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest
from standardwebhooks.webhooks import Webhook

from edge.errors import Problem, read_as
from edge.sessions.endpoint.body import Rotation
from edge.sessions.endpoint.parse import parse_change, parse_endpoint
from edge.sessions.endpoint.secret import new_secret
from edge.sessions.endpoint.settings import BatchSettings, EndpointSettings
from edge.sessions.spec import parse_change as parse_session_change
from edge.sessions.spec import parse_session
from edge.webhooks.client.signature import sign
from tests.edge.conftest import RunningEdge

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
        {"headers": {"A": "1" * 2100, "B": "1" * 2100}},
        {"mode": "sorted"},
        {"mode": 1},
        {"mode": "unordered", "ordered": True},
        {"ordered": "yes"},
        {"on_exhausted": "explode"},
        {"on_exhausted": "halt"},
        {"concurrency": 0},
        {"concurrency": 65},
        {"concurrency": 1.5},
        {"rate": 0},
        {"rate": 10_001},
        {"rate": "fast"},
        {"batch": 10},
        {"batch": {"max": 10}},
        {"batch": {"max_n": 0}},
        {"batch": {"max_bytes": 1024 * 1024 + 1}},
        {"batch": {"linger": 61}},
        {"retry_profile": "eager"},
        {"max_age": 0},
        {"max_age": 31 * 86400},
        {"gzip_above": -1},
        {"gzip_above": True},
        {"verify": "please"},
        {"secret": ""},
        {"secret": 5},
        {"secret": "whsec_" + base64.b64encode(b"x" * 23).decode()},
        {"secret": "whsec_" + base64.b64encode(b"x" * 76).decode()},
        {"secret": base64.b64encode(b"x" * 76).decode()},
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
     "Cookie", "User-Agent", "Via", "CE-Id", "Sec-Fetch-Mode", "Forwarded", "Access-Control-Allow-Origin", "svix-id",
     "Date", "Origin", "Accept-Encoding", "HTTP2-Settings", "WebHook-Request-Origin",
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


def test_every_field_is_read_and_shown_as_it_was_given() -> None:
    given = {
        "mode": "keyed",
        "on_exhausted": "halt",
        "concurrency": 4,
        "rate": 2.5,
        "batch": {"max_n": 10, "max_bytes": 1000, "linger": 0.5},
        "retry_profile": "fast",
        "max_age": 3600.0,
        "gzip_above": 1024,
        "verify": "post",
    }

    shown = parse_endpoint({"webhook_url": "https://a.example/", **given}).describe()

    assert given.items() <= shown.items()
    assert (shown["retry_attempts"], shown["state"], shown["ordered"]) == (5, "pending", False)


@pytest.mark.parametrize(
    ("profile", "attempts", "most"), [("guide", 3, 60), ("fast", 5, 600), ("standard", 9, 4 * 86400)]
)
def test_a_profile_says_how_often_and_how_long(profile: str, attempts: int, most: float) -> None:
    endpoint = parse_endpoint({"webhook_url": "https://a.example/", "retry_profile": profile})

    assert endpoint.retry_attempts == attempts
    assert sum(endpoint.schedule[:attempts]) <= most
    named = parse_endpoint({"webhook_url": "https://a.example/", "retry_profile": profile, "retry_attempts": 1})
    assert named.retry_attempts == 1


def test_ordered_is_another_word_for_fifo() -> None:
    assert parse_endpoint({"webhook_url": "https://a.example/", "ordered": True}).mode == "fifo"
    # As sessions lie in the bucket that were made before there were modes.
    old = msgspec.json.decode(
        b'{"url":"https://a.example/","ordered":true,"secret":"whsec_AA=="}', type=EndpointSettings
    )
    assert old.mode == "fifo" and old.ordered
    assert msgspec.json.decode(msgspec.json.encode(old), type=EndpointSettings) == old


def test_a_batch_has_defaults_of_its_own() -> None:
    assert parse_endpoint({"webhook_url": "https://a.example/", "batch": {}}).batch == BatchSettings(100, 262144, 1.0)


def test_a_batch_has_no_binary_form() -> None:
    with pytest.raises(Problem) as refused:
        parse_endpoint({"webhook_url": "https://a.example/", "batch": {}}, "cloudevents-binary")

    assert (refused.value.code, refused.value.more["field"]) == ("bad_webhook", "batch")


def changed(endpoint: EndpointSettings, **body: Any) -> EndpointSettings:
    return parse_change(endpoint, body, "callback")


def test_a_change_leaves_what_it_does_not_name_and_null_gives_the_default_back() -> None:
    endpoint = parse_endpoint({**GUIDE, "rate": 5, "mode": "fifo", "secret": new_secret()})

    slower = changed(endpoint, rate=1)
    freed = changed(slower, rate=None, mode=None)

    assert (slower.rate, slower.mode, slower.secret, slower.headers) == (1, "fifo", endpoint.secret, endpoint.headers)
    assert (freed.rate, freed.mode, freed.secret) == (None, "unordered", endpoint.secret)
    assert changed(endpoint, ordered=False).mode == "unordered"
    assert changed(endpoint, retry_profile="fast").retry_attempts == 5
    with pytest.raises(Problem):
        changed(endpoint, secret=None)


def test_what_a_receiver_allowed_stays_until_the_address_changes() -> None:
    endpoint = parse_endpoint({"webhook_url": "https://a.example/", "verify": "options", "rate": 10})
    agreed = msgspec.structs.replace(endpoint.allowed(2.0), active=True)

    same, moved = changed(agreed, timeout=5), changed(agreed, webhook_url="https://b.example/")

    assert (same.active, same.rate, same.allowed_rate) == (True, 2.0, 2.0)
    assert (moved.active, moved.rate, moved.allowed_rate) == (False, 10, None)


@pytest.mark.parametrize("overlap", [-1, 31 * 86400, "1d", True, float("nan")])
def test_a_bad_overlap_is_refused(overlap: object) -> None:
    with pytest.raises(Problem) as refused:
        read_as({"overlap": overlap}, Rotation, "bad_webhook")

    assert (refused.value.code, refused.value.more) == ("bad_webhook", {"field": "overlap"})


def test_an_overlap_of_nothing_is_none_and_one_left_out_is_a_day() -> None:
    assert (read_as({"overlap": 0}, Rotation).overlap, read_as({}, Rotation).overlap) == (0.0, 86400.0)


# Over HTTP


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "missing_field"),
        ({"webhook_url": "https://10.0.0.1/"}, "bad_webhook"),
        ({"webhook_url": "https://169.254.169.254/latest/meta-data/"}, "bad_webhook"),
        ({"webhook_url": "https://a.example/", "secret": "whsec_short"}, "bad_webhook"),
        ({"webhook_url": "https://a.example/", "headers": {"A": "x" * 5000}}, "bad_webhook"),
        ({"webhook_url": "https://a.example/", "headers": {"Host": "b.example"}}, "bad_webhook"),
        ({"webhook_url": "https://a.example/", "retries": 3}, "unknown_field"),
    ],
    ids=str,
)
async def test_a_bad_configuration_is_refused_at_creation_and_makes_nothing(
    edge: RunningEdge, body: dict[str, Any], code: str
) -> None:
    before = (await edge.http.get("/callbacks/sessions")).json()["total"]

    answer = await edge.http.post("/callbacks/sessions", json={"delivery_method": "webhook", **body})

    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert code == "unknown_field" or answer.json()["field"] in ("webhook_url", "secret", "headers")
    assert (await edge.http.get("/callbacks/sessions")).json()["total"] == before


@pytest.mark.parametrize("size", [24, 32, 64, 75])
@pytest.mark.parametrize("prefix", ["", "whsec_"])
def test_secrets_of_standard_webhooks_and_svix_are_taken_and_verify(size: int, prefix: str):
    key = bytes(range(size))
    endpoint = parse_endpoint({**GUIDE, "secret": prefix + base64.b64encode(key).decode()})

    assert (endpoint.secret.startswith("whsec_"), endpoint.key) == (True, key)
    body = b'{"event_type":"progress"}'
    Webhook(endpoint.secret).verify(body, sign(endpoint.keys, "msg_1", body))


@pytest.mark.parametrize(("field", "value", "instead"), [("conflate", True, "batch"), ("max_rate", 5, "rate")])
def test_what_a_webhook_cannot_honour_is_refused_and_not_ignored(field: str, value: object, instead: str):
    body = {"delivery_method": "webhook", **GUIDE}

    with pytest.raises(Problem, match=instead) as refused:
        parse_session({**body, field: value})
    assert (refused.value.status, refused.value.code, refused.value.more) == (422, "bad_webhook", {"field": field})

    made, _ = parse_session({**body, "conflate": False, "max_rate": None, "ttl": 0})
    with pytest.raises(Problem, match=instead):
        parse_session_change({field: value}, made)
    # As an earlier version has stored it.
    old = msgspec.structs.replace(made, conflate=True, max_rate=5.0, ttl=60.0)
    changed = parse_session_change({"name": "x"}, old)
    assert (changed.name, changed.conflate, changed.max_rate, changed.ttl) == ("x", False, None, None)


def test_the_ttl_of_a_webhook_is_its_own_and_not_one_that_an_earlier_version_stored() -> None:
    made, _ = parse_session({"delivery_method": "webhook", **GUIDE, "ttl": 60})
    old = msgspec.structs.replace(made, ttl=60.0, webhook_ttl=None)

    assert (made.expires_after, old.expires_after) == (60.0, None)
    assert parse_session_change({"name": "x"}, made).expires_after == 60.0
    assert parse_session_change({"ttl": None}, made).expires_after is None
    assert parse_session_change({"ttl": 5}, old).expires_after == 5.0
