"""Connections are opened through tunnels, and only to addresses that webhooks may reach."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from edge.webhooks.client.outcome import Verdict
from edge.webhooks.client.sender import Sender
from edge.webhooks.client.ssrf import GuardSettings
from tests.edge.webhooks.client.forward import Forward, post
from tests.edge.webhooks.client.test_proxy import PUBLIC
from tests.edge.webhooks.stage import LOCAL, Receiver, resolve_to
from tests.servers import Authority


@pytest.mark.parametrize("tls_to_proxy", [False, True])
async def test_tls_goes_through_the_tunnel_and_is_the_receivers(
    tls_to_proxy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, receiver = Authority(tmp_path), Receiver()
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.cert))
    receiver.use_tls(authority.issue("receiver", "receiver.example"))
    resolve_to(monkeypatch, "127.0.0.1")
    async with receiver.serving():
        forward = Forward(receiver.port)
        if tls_to_proxy:
            pair = authority.issue("proxy", "127.0.0.1")
            forward.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            forward.tls.load_cert_chain(pair.cert, pair.key)
        async with forward.serving(), Sender(LOCAL) as sender:
            good = await post(sender, f"https://receiver.example:{receiver.port}/hook", proxy=forward.url)
            wrong = await post(sender, f"https://another.example:{receiver.port}/hook", proxy=forward.url)

    assert good.verdict is Verdict.DELIVERED, good
    assert (wrong.verdict, wrong.fault) == (Verdict.RETRY, "tls") and "ostname mismatch" in wrong.note
    # The addresses that were checked, and not names that may lead elsewhere by then.
    assert set(forward.targets) == {f"127.0.0.1:{receiver.port}"}
    assert receiver.posts[0].headers["host"] == f"receiver.example:{receiver.port}"


async def test_a_tunnel_that_does_not_open_in_time_is_told(forward: Forward, receiver: Receiver) -> None:
    forward.answer = b""
    async with Sender(LOCAL) as sender:
        outcome = await post(sender, receiver.url, proxy=forward.url, timeout=4.0)

    assert (outcome.verdict, outcome.fault) == (Verdict.RETRY, "connect_timeout")


async def test_nothing_denied_is_reached_through_a_proxy(forward: Forward, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = GuardSettings(allow_http=True, proxy=forward.url)
    resolve_to(monkeypatch, "10.0.0.1", "fd00::1", "169.254.169.254")
    async with Sender(settings) as sender:
        name = await post(sender, "http://inside.example/hook")
        literal = await post(sender, "http://169.254.169.254/latest")
        odd = await post(sender, "http://0x7f.1/")
        # One good address among bad ones is the one that is used.
        resolve_to(monkeypatch, "10.0.0.1", PUBLIC)
        mixed = await post(sender, "http://mixed.example/hook")
    async with Sender(replace(settings, proxy_resolves=True)) as sender:
        still = await post(sender, "http://169.254.169.254/latest")
        by_name = await post(sender, "http://inside.example/hook")

    assert (name.verdict, name.fault, name.note) == (Verdict.POSTPONED, "ssrf_blocked", name.note)
    assert name.note in ("private", "link_local")
    assert [(each.verdict, each.fault) for each in (literal, odd, still)] == [(Verdict.FINAL, "ssrf_blocked")] * 3
    assert (mixed.verdict, by_name.verdict) == (Verdict.DELIVERED, Verdict.DELIVERED)
    assert forward.targets == [f"{PUBLIC}:80", "inside.example:80"]
