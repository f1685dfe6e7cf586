"""`callboard webhooks`: attempts, health, and what is sent again, through a running edge."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook

from edge.app import application
from edge.server.serve import bind, serve
from edge.settings import EdgeSettings
from edge.webhooks.client.ssrf import GuardSettings
from router.topology import TopologySettings
from tests.edge.webhooks.stage import Receiver
from tests.ops.command import callboard
from tests.waiting import PATIENCE, eventually, in_time, unhurried

Webhooks = Callable[..., Awaitable["subprocess.CompletedProcess[str]"]]


@pytest.fixture
async def url(own_nats: str) -> AsyncIterator[str]:
    """The address of a running edge."""
    listeners = bind("127.0.0.1", 0)
    stop, ready = asyncio.Event(), asyncio.Event()
    port: int = listeners[0].getsockname()[1]
    async with asyncio.TaskGroup() as group:
        group.create_task(
            serve(
                application(
                    EdgeSettings(port=port, drain=0.1),
                    unhurried(own_nats),
                    TopologySettings(),
                    guard=GuardSettings(allow_loopback=True, allow_http=True),
                ),
                *listeners,
                stop=stop,
                ready=lambda _port: ready.set(),
            )
        )
        await in_time(ready.wait())
        yield f"http://127.0.0.1:{port}"
        stop.set()


@pytest.fixture
def webhooks(url: str) -> Webhooks:
    """Runs `callboard webhooks` against that edge."""

    async def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(callboard, "webhooks", *arguments, "--edge-url", url)

    return run


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver().serving() as serving:
        yield serving


async def failing(url: str, receiver: Receiver, entity: str, count: int) -> str:
    """A session of which so many deliveries have failed for good."""
    receiver.answer = 500
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as http:
        made = await http.post(
            "/callbacks/sessions",
            json={
                "delivery_method": "webhook",
                "webhook_url": receiver.url,
                "subjects": [f"job.{entity}.>"],
                "retry_attempts": 0,
            },
        )
        session: str = made.json()["session_id"]
        await http.post("/events", json=[{"subject": f"job.{entity}.output", "data": {"n": n}} for n in range(count)])

        async def noted() -> bool:
            page = (await http.get(f"/callbacks/sessions/{session}/attempts")).json()
            return len(page["attempts"]) == count

        await eventually(noted)
    return session


async def test_what_failed_is_seen_and_sent_again(
    url: str, webhooks: Webhooks, receiver: Receiver, entity: str
) -> None:
    session = await failing(url, receiver, entity, 3)

    listed = await webhooks("attempts", session, "--json")
    table = await webhooks("attempts", session, "--result", "fail", "--limit", "2")
    attempts: list[dict[str, Any]] = [json.loads(line) for line in listed.stdout.splitlines()]
    receiver.answer = 204
    receiver.posts.clear()
    one = await webhooks("resend", session, attempts[0]["event"])
    await eventually(lambda: len(receiver.posts) == 1)

    assert [attempt["error"] for attempt in attempts] == ["server_error"] * 3
    assert table.stdout.count("500 server_error") == 2 and "there are more" in table.stderr
    assert one.returncode == 0 and attempts[0]["webhook_id"] in one.stdout

    async def delivered() -> bool:
        return len((await webhooks("attempts", session, "--result", "ok", "--json")).stdout.splitlines()) == 1

    await eventually(delivered)
    rest = await webhooks("recover", session, "--since", "10m")
    await eventually(lambda: len(receiver.posts) == 3)

    assert (rest.returncode, rest.stdout.strip()) == (0, "2 of 2 failed deliveries are sent again")


async def test_an_endpoint_is_disabled_shown_and_enabled(
    url: str, webhooks: Webhooks, receiver: Receiver, entity: str
) -> None:
    session = await failing(url, receiver, entity, 1)

    disabled = await webhooks("disable", session, "--reason", "moving house")
    health = await webhooks("health", session, "--json")
    enabled = await webhooks("enable", session)

    assert "disabled" in disabled.stdout and "moving house" in disabled.stdout
    assert json.loads(health.stdout)["state"] == "disabled"
    assert "closed" in enabled.stdout and enabled.returncode == 0


async def test_a_stretch_of_the_past_is_sent_again(
    url: str, webhooks: Webhooks, receiver: Receiver, entity: str
) -> None:
    session = await failing(url, receiver, entity, 3)
    receiver.answer = 204
    receiver.posts.clear()

    ended = await webhooks("replay", session, "--last", "2")
    await eventually(lambda: len(receiver.posts) == 2)

    assert (ended.returncode, ended.stdout.strip()) == (0, "2 events are sent again")


async def test_a_new_secret_is_printed_by_itself_and_signs_from_then_on(
    url: str, webhooks: Webhooks, receiver: Receiver, entity: str
) -> None:
    session = await failing(url, receiver, entity, 1)
    receiver.answer = 204
    receiver.posts.clear()

    rotated = await webhooks("rotate", session, "--overlap", "0")
    await webhooks("replay", session, "--last", "1")
    post = (await eventually(lambda: receiver.posts))[0]

    assert rotated.returncode == 0 and rotated.stdout.startswith("whsec_")
    assert Webhook(rotated.stdout.strip()).verify(post.body, post.headers)


async def test_a_shared_secret_is_replaced_by_a_private_key_whose_public_half_is_told(
    url: str, webhooks: Webhooks, receiver: Receiver, entity: str
) -> None:
    session = await failing(url, receiver, entity, 1)
    receiver.answer = 204
    receiver.posts.clear()

    rotated = await webhooks("rotate", session, "--signing", "ed25519", "--overlap", "0")
    await webhooks("replay", session, "--last", "1")
    post = (await eventually(lambda: receiver.posts))[0]

    assert rotated.returncode == 0 and rotated.stdout.startswith("whsk_")
    public = re.search(r"whpk_(\S+)", rotated.stderr)
    assert public is not None
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.group(1)))
    signed = b".".join((post.headers["webhook-id"].encode(), post.headers["webhook-timestamp"].encode(), post.body))
    version, _, signature = post.headers["webhook-signature"].partition(",")
    assert version == "v1a"
    key.verify(base64.b64decode(signature), signed)


async def test_a_receiver_is_asked_whether_it_wants_anything(
    url: str, webhooks: Webhooks, receiver: Receiver, entity: str
) -> None:
    session = await failing(url, receiver, entity, 1)

    refused = await webhooks("verify", session)
    receiver.answer = 204
    agreed = await webhooks("verify", session, "--json")

    assert refused.returncode == 1 and "has not agreed" in refused.stdout
    assert agreed.returncode == 0 and json.loads(agreed.stdout)["ok"]


async def test_what_is_asked_wrongly_is_said_and_ends_with_2(webhooks: Webhooks) -> None:
    for arguments, said in (
        (("attempts", "sess_000000000000000000000000"), "no session"),
        (("attempts", "sess_000000000000000000000000", "--limit", "0"), "--limit"),
        (("recover", "sess_000000000000000000000000"), "--since"),
        (("replay", "sess_000000000000000000000000"), "--last"),
        (("rotate", "sess_000000000000000000000000", "--overlap", "soon"), "--overlap"),
    ):
        ended = await webhooks(*arguments)
        assert ended.returncode == 2 and said in ended.stderr, ended
        assert "Traceback" not in ended.stderr
