from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from svix.webhooks import Webhook as SvixWebhook

from edge.sessions.endpoint.secret import new_secret
from edge.sessions.endpoint.settings import EndpointSettings
from edge.webhooks.client.outcome import Outcome, Verdict
from edge.webhooks.client.sender import Sender
from edge.webhooks.client.signature import sign
from edge.webhooks.client.ssrf import GuardSettings, check_url
from tests.edge.webhooks.stage import LOCAL, Receiver, resolve_to
from tests.servers import Authority


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    async with Sender(LOCAL) as opened:
        yield opened


async def post(sender: Sender, url: str, timeout: float = 5.0) -> Outcome:
    return await sender.post(EndpointSettings(url=url, timeout=timeout), "d1", "sess_1", b'{"a":1}')


async def test_a_post_carries_its_headers_and_a_signature_that_verifies(sender: Sender, receiver: Receiver):
    endpoint = EndpointSettings(url=receiver.url, headers={"Authorization": "Bearer token", "X-Source": "here"})

    outcome = await sender.post(
        endpoint, "d1", "sess_1", b'{"a":1}', trace="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    )

    assert outcome.verdict is Verdict.DELIVERED
    headers = receiver.posts[0].headers
    assert Webhook(endpoint.secret).verify(receiver.posts[0].body, headers) == {"a": 1}
    assert headers["webhook-id"] == "msg_d1"
    assert headers["authorization"] == "Bearer token" and headers["x-source"] == "here"
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"].startswith("Callboard/")
    assert headers["x-callboard-session"] == "sess_1"
    assert headers["traceparent"].startswith("00-0af7")


async def test_connections_are_kept(sender: Sender, receiver: Receiver):
    ports = set()

    async def answer(request: web.Request) -> web.Response:
        ports.add(request.transport.get_extra_info("peername")[1])  # type: ignore[union-attr]
        return web.Response(text="x" * 1000)

    receiver.answer = answer
    for _ in range(5):
        await post(sender, receiver.url)

    assert len(ports) == 1


async def test_a_redirect_is_a_failure_and_is_not_followed(sender: Sender, receiver: Receiver):
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "http://169.254.169.254/latest/meta-data/"})

    receiver.answer = answer

    outcome = await post(sender, receiver.url)

    assert (outcome.verdict, outcome.fault, outcome.status) == (Verdict.RETRY, "redirect", 302)
    assert len(receiver.posts) == 1


async def test_retry_after_is_told(sender: Sender, receiver: Receiver):
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "17"}, text="slow down")

    receiver.answer = answer

    outcome = await post(sender, receiver.url)

    assert (outcome.fault, outcome.retry_after, outcome.head) == ("throttled", 17.0, b"slow down")


async def test_a_receiver_that_hangs_is_left_at_the_deadline(sender: Sender, receiver: Receiver):
    async def answer(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    receiver.answer = answer

    outcome = await post(sender, receiver.url, timeout=0.2)

    assert (outcome.verdict, outcome.fault) == (Verdict.RETRY, "timeout")
    assert 0.15 < outcome.seconds < 2


async def test_a_body_that_never_ends_is_left_and_does_not_change_what_the_status_said(
    sender: Sender, receiver: Receiver
):
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b".")
            await asyncio.sleep(0.01)

    receiver.answer = answer

    outcome = await post(sender, receiver.url, timeout=30.0)

    assert (outcome.verdict, outcome.fault, outcome.status) == (Verdict.DELIVERED, "", 200)


async def test_no_more_than_is_needed_is_read_of_a_huge_answer(sender: Sender, receiver: Receiver):
    written = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)
            written += 65536

    receiver.answer = answer

    outcome = await post(sender, receiver.url)

    assert outcome.verdict is Verdict.DELIVERED and len(outcome.head) == 1024
    # What the kernel's buffers took, and not more.
    assert written < 64 * 1024 * 1024


async def test_a_packed_answer_is_never_unpacked(sender: Sender, receiver: Receiver):
    bomb = gzip.compress(bytes(50_000_000))

    async def answer(request: web.Request) -> web.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

    receiver.answer = answer

    outcome = await post(sender, receiver.url)

    assert outcome.verdict is Verdict.DELIVERED and outcome.head == bomb[:1024]


async def test_no_cookie_is_taken(sender: Sender, receiver: Receiver):
    async def answer(request: web.Request) -> web.Response:
        return web.Response(headers={"Set-Cookie": "a=b"})

    receiver.answer = answer
    await post(sender, receiver.url)
    await post(sender, receiver.url)

    assert "cookie" not in receiver.posts[1].headers


async def test_nobody_there_is_a_failure_of_its_own_kind(sender: Sender):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and not listening

        outcome = await post(sender, f"http://127.0.0.1:{taken.getsockname()[1]}/")

    assert (outcome.verdict, outcome.fault) == (Verdict.RETRY, "refused")


async def test_a_name_that_leads_nowhere_is_a_failure_of_its_own_kind():
    async with Sender(GuardSettings(allow_http=True)) as sender:
        outcome = await post(sender, "http://receiver.invalid/")

    assert (outcome.verdict, outcome.fault) == (Verdict.RETRY, "dns")


async def test_a_receiver_without_tls_is_a_failure_of_its_own_kind(sender: Sender, receiver: Receiver):
    outcome = await post(sender, receiver.url.replace("http:", "https:"))

    assert (outcome.verdict, outcome.fault) == (Verdict.RETRY, "tls")


@pytest.mark.parametrize(
    ("host", "expired", "trusted", "text"),
    [
        ("127.0.0.1", True, True, "certificate verify failed: certificate has expired"),
        ("127.0.0.2", False, True, "certificate verify failed: IP address mismatch"),
        ("127.0.0.1", False, False, "certificate verify failed: unable to get local issuer certificate"),
        ("", False, True, "wrong version number"),
    ],
)
async def test_what_is_wrong_with_a_receivers_tls_is_told(
    host: str, expired: bool, trusted: bool, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    authority = Authority(tmp_path)
    receiver = Receiver()
    if host:
        receiver.use_tls(authority.issue("receiver", host, expired=expired))
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.cert))
    async with receiver.serving(), Sender(LOCAL) as sender:
        outcome = await post(sender, f"https://127.0.0.1:{receiver.port}/")

    assert (outcome.verdict, outcome.fault) == (Verdict.RETRY, "tls")
    assert text in outcome.note and outcome.detail == f"tls: {outcome.note}"


async def test_a_receiver_that_hangs_up_is_a_failure_of_its_own_kind(sender: Sender, receiver: Receiver):
    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    receiver.answer = answer

    outcome = await post(sender, receiver.url)

    assert (outcome.verdict, outcome.fault) == (Verdict.RETRY, "reset")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "0x7f.1", "2130706433", "100.64.0.1",
     "0.0.0.0", "10.0.0.1", "[fd00:ec2::254]", "[64:ff9b::7f00:1]"],
)  # fmt: skip
async def test_a_private_address_is_never_connected_to(host: str, receiver: Receiver):
    async with Sender(GuardSettings(allow_http=True)) as sender:
        outcome = await post(sender, f"http://{host}:{receiver.port}/")

    assert outcome.verdict is Verdict.FINAL and outcome.fault == "ssrf_blocked"
    assert receiver.posts == []


async def test_a_name_that_changes_its_mind_is_judged_at_the_connection(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    url, settings = f"http://rebinding.example:{receiver.port}/", GuardSettings(allow_http=True)
    resolve_to(monkeypatch, "1.1.1.1")
    await check_url(url, settings)

    resolve_to(monkeypatch, "127.0.0.1", "::1")
    async with Sender(settings) as sender:
        outcome = await post(sender, url)

    assert (outcome.verdict, outcome.fault) == (Verdict.POSTPONED, "ssrf_blocked")
    assert receiver.posts == []


async def test_a_proxy_of_the_environment_is_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with Sender(LOCAL) as sender:
        outcome = await post(sender, receiver.url)

    assert outcome.verdict is Verdict.DELIVERED


LARGE = b'{"text":"' + b"again " * 1000 + b'"}'


async def send(sender: Sender, endpoint: EndpointSettings, body: bytes) -> Outcome:
    return await sender.post(endpoint, "d1", "sess_1", body)


async def test_a_large_body_is_sent_in_gzip_and_a_small_one_is_not(sender: Sender, receiver: Receiver):
    endpoint = EndpointSettings(url=receiver.url, gzip_above=100)

    for body in (LARGE, b'{"a":1}'):
        await send(sender, endpoint, body)

    large, small = receiver.posts
    # The receiver of these tests unpacks what it reads, as most frameworks do; the length is that of what came.
    assert (large.headers.get("content-encoding"), large.body) == ("gzip", LARGE)
    assert int(large.headers["content-length"]) < len(LARGE) / 10
    assert (small.headers.get("content-encoding"), small.body) == (None, b'{"a":1}')


@pytest.mark.parametrize("rotated", [False, True])
async def test_a_body_in_gzip_verifies_where_the_framework_unpacks_it(
    sender: Sender, receiver: Receiver, rotated: bool
):
    old = EndpointSettings(url=receiver.url, gzip_above=100)
    endpoint = old.rotated(new_secret(), 60.0) if rotated else old

    await send(sender, endpoint, LARGE)

    post = receiver.posts[0]
    assert post.headers["content-encoding"] == "gzip"
    for secret in {old.secret, endpoint.secret}:
        assert Webhook(secret).verify(post.body, post.headers) == json.loads(LARGE)
        SvixWebhook(secret).verify(post.body, post.headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(post.body + b" ", post.headers)


async def test_a_body_in_gzip_verifies_as_it_travels_too(sender: Sender):
    read: list[tuple[dict[str, str], bytes]] = []

    async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        read.append((headers, await reader.readexactly(int(headers["Content-Length"]))))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(raw, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        endpoint = EndpointSettings(url=url, gzip_above=100)
        await send(sender, endpoint, LARGE)

    ((headers, body),) = read
    signed = sign([endpoint.key], "msg_d1", body, at=int(headers["webhook-timestamp"]))
    assert gzip.decompress(body) == LARGE
    assert signed["webhook-signature"] in headers["webhook-signature"].split(" ")


async def test_a_receiver_that_cannot_read_gzip_gets_it_plain_at_once_and_from_then_on(
    sender: Sender, receiver: Receiver
):
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=415 if "Content-Encoding" in request.headers else 204)

    receiver.answer = answer
    endpoint = EndpointSettings(url=receiver.url, gzip_above=100)

    first, second = [await send(sender, endpoint, LARGE) for _ in range(2)]

    assert (first.verdict, second.verdict) == (Verdict.DELIVERED, Verdict.DELIVERED)
    assert [post.headers.get("content-encoding") for post in receiver.posts] == ["gzip", None, None]
    for post in receiver.posts[1:]:
        Webhook(endpoint.secret).verify(post.body, post.headers)


async def test_old_secrets_sign_beside_the_new_one(sender: Sender, receiver: Receiver):
    old = EndpointSettings(url=receiver.url)
    endpoint = old.rotated(new_secret(), 60.0)

    await send(sender, endpoint, b'{"a":1}')

    for secret in (old.secret, endpoint.secret):
        Webhook(secret).verify(b'{"a":1}', receiver.posts[0].headers)
        SvixWebhook(secret).verify(b'{"a":1}', receiver.posts[0].headers)


async def test_the_times_of_an_attempt_are_told_apart(sender: Sender, receiver: Receiver):
    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(0.05)
        return web.Response(status=204)

    receiver.answer = answer

    fresh, kept = await post(sender, receiver.url), await post(sender, receiver.url)

    assert fresh.timing and kept.timing
    assert fresh.timing.connect > 0 and kept.timing.connect == 0
    # 49: a timer of the loop may be a fraction of a millisecond early.
    assert 49 <= fresh.timing.first_byte <= fresh.timing.total
    assert fresh.address == kept.address == "127.0.0.1"


async def test_the_control_header_of_an_answer_is_heard(sender: Sender, receiver: Receiver):
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=503, headers={"Webhook-Delivery": "abort-message"})

    receiver.answer = answer

    outcome = await post(sender, receiver.url)

    assert (outcome.verdict, outcome.fault) == (Verdict.FINAL, "aborted")


async def test_headers_that_never_end_are_bounded(sender: Sender):
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 503 Busy\r\nX: ")
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(endless, "127.0.0.1", 0)
    async with server:
        outcome = await post(sender, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")

    assert (outcome.verdict, outcome.fault, outcome.status) == (Verdict.RETRY, "server_error", 503)


async def test_a_receiver_that_never_takes_the_connection_is_a_failure_of_its_own_kind(sender: Sender):
    with socket.socket() as full, contextlib.ExitStack() as crowd:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        # A queue of none holds one, and then the kernel answers nobody.
        for _ in range(4):
            knocking = crowd.enter_context(socket.socket())
            knocking.setblocking(False)
            knocking.connect_ex(full.getsockname())
        outcome = await post(sender, f"http://127.0.0.1:{full.getsockname()[1]}/", timeout=0.3)

    assert (outcome.verdict, outcome.fault) == (Verdict.RETRY, "connect_timeout")


async def test_what_is_the_same_for_every_post_is_made_once_for_each_of_any_number_of_sessions(sender: Sender):
    endpoints = {f"sess_{number}": EndpointSettings(url=f"http://127.0.0.1:9/{number}") for number in range(5000)}
    first = {session: await sender._target(endpoint, session) for session, endpoint in endpoints.items()}

    for session, endpoint in endpoints.items():
        assert await sender._target(endpoint, session) is first[session]
    changed = EndpointSettings(url="http://127.0.0.1:9/changed")
    assert (await sender._target(changed, "sess_1")).endpoint is changed

    sender.retain({"sess_1", "sess_2"})
    assert set(sender._targets) == {"sess_1", "sess_2"}
    sender.forget("sess_1")
    assert set(sender._targets) == {"sess_2"}
