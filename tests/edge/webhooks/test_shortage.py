from __future__ import annotations

import asyncio
import errno
import json
import resource
import socket
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import REGISTRY

from edge.sessions.endpoint.settings import EndpointSettings
from edge.webhooks.client.outcome import Verdict, of_fault
from edge.webhooks.client.sender import Sender
from edge.webhooks.client.ssrf import Blocked, GuardSettings
from edge.webhooks.history.attempts import Attempts
from edge.webhooks.shortage import (
    Resolver,
    Shortage,
    Shortages,
    connection_limit,
    shortage_of,
)
from router.deadletters import DeadLetters
from tests.edge.webhooks.stage import LOCAL, Receiver, Stage, resolve_to
from tests.waiting import PATIENCE, eventually, in_time

ROOT = Path(__file__).parents[3]


def connect_error(fault: OSError) -> aiohttp.ClientConnectorError:
    key: Any = type("Key", (), {"host": "receiver.example", "port": 443, "ssl": True, "is_ssl": True})()
    return aiohttp.ClientConnectorError(key, fault)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "descriptors"),
        (OSError(errno.ENFILE, "Too many open files in system"), "descriptors"),
        (OSError(errno.ENOBUFS, "No buffer space available"), "memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory"),
        (OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address"), "ports"),
        (Shortage("resolver"), "resolver"),
        # What several addresses came to, as aiohappyeyeballs puts it.
        (
            OSError("Multiple exceptions: [Errno 24] Too many open files, [Errno 101] Network is unreachable"),
            "descriptors",
        ),
        (OSError("Multiple exceptions: [Errno 99] Cannot assign, [Errno 111] Connect call failed"), ""),
        (OSError("Multiple exceptions: [Errno 101] Network is unreachable, [Errno 97] No such family"), ""),
        (OSError(errno.ECONNREFUSED, "Connect call failed"), ""),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), ""),
        (TimeoutError(), ""),
    ],
)
def test_what_is_missing_here_is_told_from_what_is_the_receivers_fault(fault: OSError, reason: str) -> None:
    assert shortage_of(fault) == shortage_of(connect_error(fault)) == reason
    outcome = of_fault(connect_error(fault), 0.1)
    assert (outcome.verdict is Verdict.POSTPONED, outcome.postponed_for) == (bool(reason), reason)


def test_a_name_that_leads_to_a_denied_address_is_postponed() -> None:
    outcome = of_fault(connect_error(Blocked("10.0.0.1", "private")), 0.1)

    assert (outcome.verdict, outcome.fault, outcome.note) == (Verdict.POSTPONED, "ssrf_blocked", "private")
    assert outcome.postponed_for == "address"


def test_one_name_that_cannot_be_looked_up_is_its_owners_fault_and_several_in_a_row_are_the_resolvers() -> None:
    resolver, again = Resolver(), socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    assert [resolver.is_away("a.example", again) for _ in range(5)] == [False] * 5
    assert [resolver.is_away(name, again) for name in ("b.example", "c.example", "a.example")] == [False, True, True]
    # It answers, whatever it says.
    assert not resolver.is_away("d.example", socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    assert not resolver.is_away("a.example", again)
    assert not resolver.is_away("b.example", again)
    resolver.answered()
    assert not resolver.is_away("c.example", again)


def test_what_was_missing_is_remembered_for_a_while() -> None:
    now = 100.0
    shortages = Shortages(lambda: now)
    shortages.note("descriptors")
    now = 130.0
    shortages.note("ports")

    assert shortages.recent() == {"descriptors": 30.0, "ports": 0.0}
    now = 720.0
    assert shortages.recent() == {"ports": 590.0}


def test_connections_are_bounded_by_the_descriptors_there_are() -> None:
    assert connection_limit(7) == 7
    assert 8 <= connection_limit() <= 65_536


async def test_no_more_connections_are_open_than_allowed_and_idle_ones_give_way(receiver: Receiver) -> None:
    peers: set[int] = set()

    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername")[1])
        return web.Response()

    receiver.answer = answer
    async with Sender(GuardSettings(allow_loopback=True, max_connections=2)) as sender, receiver.also_on("127.0.0.2"):
        urls = [f"http://localhost:{receiver.port}/", f"http://127.0.0.1:{receiver.port}/"]
        urls.append(f"http://127.0.0.2:{receiver.port}/")
        outcomes = await asyncio.gather(
            *(sender.post(EndpointSettings(url=url), "d1", "sess_1", b"{}") for url in urls * 10)
        )

    assert {each.verdict for each in outcomes} == {Verdict.DELIVERED}
    assert receiver.most_under_way <= 2 < len(peers)


async def test_a_post_that_waits_for_a_connection_does_not_use_up_its_time(receiver: Receiver) -> None:
    release = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        await release.wait()
        return web.Response()

    receiver.answer = answer
    patient, hasty = [EndpointSettings(url=receiver.url, timeout=seconds) for seconds in (PATIENCE, 5.0)]
    async with Sender(GuardSettings(allow_loopback=True, max_connections=1)) as sender:
        first = asyncio.ensure_future(sender.post(patient, "d1", "sess_1", b"{}"))
        await eventually(lambda: receiver.under_way == 1)
        waiting = asyncio.ensure_future(sender.post(hasty, "d1", "sess_1", b"{}"))
        begun = time.monotonic()
        await eventually(lambda: time.monotonic() > begun + 5.5)
        assert not waiting.done() and receiver.most_under_way == 1
        release.set()
        outcomes = await asyncio.gather(first, waiting)

    assert [each.fault for each in outcomes] == ["", ""] and outcomes[1].seconds < 5.0


async def test_who_gives_up_waiting_for_a_connection_takes_no_place(receiver: Receiver) -> None:
    release = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        await release.wait()
        return web.Response()

    receiver.answer = answer
    endpoint = EndpointSettings(url=receiver.url, timeout=PATIENCE)
    async with Sender(GuardSettings(allow_loopback=True, max_connections=1)) as sender:
        first, *others = [asyncio.ensure_future(sender.post(endpoint, "d1", "sess_1", b"{}")) for _ in range(4)]
        await eventually(lambda: receiver.under_way == 1)
        for each in others[:2]:
            each.cancel()
        release.set()
        outcomes = await in_time(asyncio.gather(first, others[2]))
        again = await sender.post(endpoint, "d1", "sess_1", b"{}")

    assert [each.fault for each in (*outcomes, again)] == [""] * 3


@pytest.mark.parametrize(("descriptors", "connections"), [(80, 0), (64, 10_000)])
async def test_a_process_with_few_descriptors_blames_no_receiver(
    stage: Stage, receiver: Receiver, descriptors: int, connections: int
) -> None:
    # Bounded by itself it never runs out; told to open as many as it likes it does, and posts them later.
    async with receiver.also_on("127.0.0.2"):
        sessions = [
            await stage.session(f"http://{host}:{receiver.port}/{n}", retry_attempts=0)
            for n in range(60)
            for host in ("127.0.0.1", "127.0.0.2")
        ]
        receiver.answer = _slowly
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.edge.webhooks.poor", stage.url, str(descriptors), str(connections),
            cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            assert child.stdin is not None and child.stdout is not None
            assert await in_time(child.stdout.readline()) == b"ready\n"
            await stage.publish("agent.run-1.progress", 2)

            def reached() -> bool:
                got = [
                    (post.headers["x-callboard-session"], json.loads(post.body)["data"]["n"]) for post in receiver.posts
                ]
                return len(set(got)) == 2 * len(sessions)

            await eventually(reached)
            child.stdin.close()
            said = await in_time(child.stdout.readline())
            assert (said == b"postponed 0\n") == (connections == 0), said
            await in_time(child.wait())
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()

    assert (await DeadLetters(stage.broker).read()).deadletters == []
    told = [record.subject async for record in _system(stage)]
    assert told == []


async def _slowly(request: web.Request) -> web.Response:
    await asyncio.sleep(0.2)
    return web.Response()


async def _system(stage: Stage) -> Any:
    for record in (await stage.broker.read("system.webhook.>", 0)).records:
        yield record


@pytest.mark.parametrize(
    "mode", ["unordered", pytest.param("keyed", marks=pytest.mark.slow), pytest.param("fifo", marks=pytest.mark.slow)]
)
async def test_what_was_postponed_is_posted_in_order_and_counts_as_no_attempt(
    stage: Stage, receiver: Receiver, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.webhooks.client.outcome.random.uniform", lambda _least, _most: 0.6)
    resolve_to(monkeypatch, "10.0.0.1")
    before = REGISTRY.get_sample_value("edge_webhook_postponed_total", {"reason": "address"}) or 0.0

    def postponed() -> float:
        return (REGISTRY.get_sample_value("edge_webhook_postponed_total", {"reason": "address"}) or 0.0) - before

    process = await stage.process(guard=GuardSettings(allow_loopback=True, allow_http=True))
    session = await stage.session(f"http://receiver.example:{receiver.port}/", retry_attempts=0, mode=mode)
    await stage.publish("agent.run-1.progress", 5)
    await eventually(lambda: postponed() >= 2)
    assert process.webhooks.health(session.id)["state"] == "closed"
    resolve_to(monkeypatch, "127.0.0.1")

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 5)
    numbers = [json.loads(post.body)["data"]["n"] for post in receiver.posts]
    assert sorted(numbers) == list(range(5)) and (mode == "unordered" or numbers == list(range(5)))
    await process.webhooks.attempts.flushed()
    found = (await Attempts(stage.broker).page(session.id)).attempts
    assert [(each.attempt, each.ok) for each in found] == [(1, True)] * 5


async def test_what_was_postponed_for_a_session_that_was_deleted_meanwhile_is_dropped(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def getaddrinfo(*_: object, **__: object) -> list[tuple[object, ...]]:
        asked.set()
        await go_on.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 80))]

    process = await stage.process(guard=GuardSettings(allow_http=True))
    session = await stage.session("http://receiver.example/", timeout=60.0)
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    await stage.publish("agent.run-1.progress")
    await in_time(asked.wait())
    await process.registry.delete(session.id)
    await eventually(lambda: session.id not in process.registry.sessions)

    go_on.set()

    await eventually(lambda: sum(len(worker.in_hand) for worker in process.webhooks._workers()) == 0)


async def test_a_resolver_that_does_not_answer_is_no_receivers_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*_: object, **__: object) -> list[tuple[object, ...]]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    async with Sender(GuardSettings(allow_http=True)) as sender:
        outcomes = [
            await sender.post(EndpointSettings(url=f"http://{name}.example/"), "d1", "sess_1", b"{}") for name in "abc"
        ]

    assert [(each.verdict, each.fault) for each in outcomes] == [
        (Verdict.RETRY, "dns"),
        (Verdict.RETRY, "dns"),
        (Verdict.POSTPONED, "shortage"),
    ]
    assert outcomes[2].postponed_for == "resolver"


async def test_after_a_shortage_kept_connections_are_used_and_new_ones_wait(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Sender(LOCAL) as sender:
        endpoint = EndpointSettings(url=receiver.url)
        assert (await sender.post(endpoint, "d1", "sess_1", b"{}")).verdict is Verdict.DELIVERED
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            kept = await sender.post(endpoint, "d1", "sess_1", b"{}")
            fresh = await sender.post(EndpointSettings(url=f"http://127.0.0.2:{receiver.port}/"), "d1", "s", b"{}")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert kept.verdict is Verdict.DELIVERED
    assert (fresh.verdict, fresh.postponed_for) == (Verdict.POSTPONED, "descriptors")
