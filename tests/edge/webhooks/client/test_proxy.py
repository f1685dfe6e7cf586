from __future__ import annotations

import base64

import pytest

from edge.errors import Problem
from edge.sessions.endpoint.settings import EndpointSettings
from edge.webhooks.client.checks import check_endpoint
from edge.webhooks.client.outcome import Verdict
from edge.webhooks.client.proxy import goes_direct, proxy_for
from edge.webhooks.client.sender import Sender
from edge.webhooks.client.ssrf import GuardSettings
from edge.webhooks.shortage import shortages
from tests.edge.conftest import RunningEdge
from tests.edge.webhooks.client.forward import Forward, post
from tests.edge.webhooks.stage import LOCAL, Receiver, Stage, resolve_to
from tests.waiting import eventually

PUBLIC = "1.1.1.1"


async def test_a_webhook_leaves_through_the_proxy_of_its_endpoint(forward: Forward, receiver: Receiver) -> None:
    proxy = forward.url.replace("://", "://us%40er:p%3Aw@")
    endpoint = EndpointSettings(url=receiver.url, proxy=proxy)
    async with Sender(LOCAL) as sender:
        outcomes = [await sender.post(endpoint, "d1", "sess_1", b"{}") for _ in range(3)]

    assert [each.verdict for each in outcomes] == [Verdict.DELIVERED] * 3
    # One tunnel for all three.
    (asked,) = forward.asked
    assert (asked["method"], asked["target"], asked["host"]) == (
        "CONNECT",
        f"127.0.0.1:{receiver.port}",
        asked["target"],
    )
    assert asked["proxy-authorization"] == "Basic " + base64.b64encode(b"us@er:p:w").decode()
    assert asked["user-agent"].startswith("Callboard/")
    assert all("proxy-authorization" not in each.headers for each in receiver.posts)


@pytest.mark.parametrize(
    ("answer", "note"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nno access", "the proxy answered 403: no access"),
        (b"HTTP/1.1 407 Authenticate\r\nContent-Length: 0\r\n\r\n", "the proxy answered 407"),
        (b"HTTP/1.0 502 Bad Gateway\r\n\r\n", "the proxy answered 502"),
    ],
)
async def test_what_the_endpoints_own_proxy_refuses_is_a_failed_attempt(
    forward: Forward, receiver: Receiver, answer: bytes, note: str
) -> None:
    forward.answer = answer
    async with Sender(LOCAL) as sender:
        outcome = await post(sender, receiver.url, proxy=forward.url)

    assert (outcome.verdict, outcome.fault, outcome.note) == (Verdict.RETRY, "proxy", note)
    assert receiver.posts == []


async def test_a_proxy_of_the_endpoint_that_is_not_there_is_a_failed_attempt(receiver: Receiver) -> None:
    async with Sender(LOCAL) as sender:
        outcome = await post(sender, receiver.url, proxy="http://us:geheim@127.0.0.1:1")

    assert (outcome.verdict, outcome.fault) == (Verdict.RETRY, "proxy")
    assert "127.0.0.1 cannot be reached" in outcome.note and "geheim" not in outcome.note


async def test_a_proxy_that_speaks_behind_its_answer_is_not_believed(forward: Forward, receiver: Receiver) -> None:
    forward.answer += b"HTTP/1.1 200 OK\r\n\r\n"
    async with Sender(LOCAL) as sender:
        outcome = await post(sender, receiver.url, proxy=forward.url)

    assert (outcome.verdict, outcome.fault) == (Verdict.RETRY, "bad_answer")


async def test_all_webhooks_leave_through_the_proxy_of_the_settings_which_may_be_within(
    forward: Forward, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The proxy lies at an address that no webhook may reach.
    resolve_to(monkeypatch, PUBLIC)
    settings = GuardSettings(allow_http=True, proxy=forward.url, no_proxy=("direct.example",))
    async with Sender(settings) as sender:
        outcome = await post(sender, "http://receiver.example/hook")
        resolve_to(monkeypatch, "127.0.0.1")
        direct = await post(sender, f"http://direct.example:{forward.target}/")

    assert outcome.verdict is Verdict.DELIVERED and forward.targets == [f"{PUBLIC}:80"]
    assert (direct.verdict, direct.fault) == (Verdict.POSTPONED, "ssrf_blocked")


@pytest.mark.parametrize(
    "broken", ["gone", b"HTTP/1.1 407 Authenticate\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 503 Busy\r\n\r\n"]
)
async def test_a_proxy_of_the_settings_that_does_not_work_is_no_receivers_fault(
    forward: Forward, monkeypatch: pytest.MonkeyPatch, broken: str | bytes
) -> None:
    resolve_to(monkeypatch, PUBLIC)
    url = "http://127.0.0.1:1" if isinstance(broken, str) else forward.url
    forward.answer = broken if isinstance(broken, bytes) else b""
    async with Sender(GuardSettings(allow_http=True, proxy=url)) as sender:
        outcome = await post(sender, "http://receiver.example/hook")

    if broken == b"HTTP/1.1 503 Busy\r\n\r\n":
        # It works, and cannot reach this receiver.
        assert (outcome.verdict, outcome.fault) == (Verdict.RETRY, "proxy")
    else:
        assert (outcome.verdict, outcome.postponed_for) == (Verdict.POSTPONED, "proxy"), outcome


async def test_a_proxy_of_an_endpoint_may_not_lie_within(forward: Forward, receiver: Receiver) -> None:
    endpoint = EndpointSettings(url="http://1.1.1.1/", proxy=forward.url)
    settings = GuardSettings(allow_http=True)
    async with Sender(settings) as sender:
        outcome = await sender.post(endpoint, "d1", "sess_1", b"{}")
    with pytest.raises(Problem) as refused:
        await check_endpoint(endpoint, settings)

    assert (outcome.verdict, outcome.fault) == (Verdict.POSTPONED, "ssrf_blocked")
    assert refused.value.more == {"field": "proxy", "reason": "loopback"} and forward.asked == []


@pytest.mark.parametrize(
    ("host", "direct"),
    [
        ("receiver.example", False),
        ("internal.example", True),
        ("api.internal.example", True),
        ("notinternal.example", False),
        ("INTERNAL.example.", True),
        ("10.1.2.3", True),
        ("11.1.2.3", False),
        ("192.0.2.7", True),
    ],
)
def test_what_needs_no_proxy_is_told_by_name_and_network(host: str, direct: bool) -> None:
    entries = (".internal.example", "10.0.0.0/8", "192.0.2.7")

    assert goes_direct(host, entries) is direct
    assert goes_direct(host, ("*",)) is True and goes_direct(host, ()) is False
    chosen = proxy_for(f"https://{host}/", "", "http://proxy:3128", entries, False)
    assert (chosen is None) is direct


async def test_a_session_with_a_proxy_is_delivered_through_it(
    edge: RunningEdge, forward: Forward, receiver: Receiver, entity: str
) -> None:
    proxy = forward.url.replace("://", "://user:geheim@")
    body = {"delivery_method": "webhook", "webhook_url": receiver.url, "subjects": [f"job.{entity}.>"], "proxy": proxy}
    made = await edge.http.post("/callbacks/sessions", json=body)
    refused = await edge.http.post("/callbacks/sessions", json={**body, "proxy": "http://10.0.0.1:3128"})

    await edge.numbers(entity, 2)
    await eventually(lambda: len(receiver.posts) == 2)
    assert made.status_code == 201 and "geheim" not in made.text and len(forward.asked) >= 1
    assert (refused.status_code, refused.json()["field"], refused.json()["reason"]) == (422, "proxy", "private")


async def test_while_the_proxy_of_the_settings_is_away_nothing_is_counted_and_nothing_lost(
    stage: Stage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.webhooks.client.outcome.random.uniform", lambda _least, _most: 0.2)
    forward = Forward(receiver.port)
    async with forward.serving():
        pass
    guard = GuardSettings(allow_loopback=True, proxy=forward.url)
    process = await stage.process(guard=guard)
    session = await stage.session(receiver.url, retry_attempts=0)
    await stage.publish("agent.run-1.progress", 3)

    def postponed() -> bool:
        return "proxy" in shortages.recent()

    await eventually(postponed)
    async with forward.serving(forward.port):
        await eventually(lambda: process.webhooks.stats(session.id).delivered == 3)
        health = process.webhooks.health(session.id)
    assert (health["state"], health["trips"], process.webhooks.stats(session.id).failed) == ("closed", 0, 0)
