from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from edge.sessions.endpoint.settings import EndpointSettings
from edge.webhooks.client.outcome import Outcome, Verdict
from edge.webhooks.client.sender import Sender
from tests.edge.webhooks.client.test_answer import CUT, TAKEN
from tests.edge.webhooks.stage import LOCAL
from tests.waiting import PATIENCE, eventually

Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def receiver(*answers: bytes, hang_up: bool = False) -> AsyncIterator[tuple[str, list[int]]]:
    """Answers each request of a connection with the next of these bytes; tells how many requests each connection had."""
    connections: list[int] = []
    serving: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(connections)
        serving.add(asyncio.current_task())
        connections.append(0)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
                connections[number] += 1
                writer.write(answers[min(sum(connections), len(answers)) - 1])
                await writer.drain()
                if hang_up:
                    break
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?a=b", connections
    await asyncio.gather(*(task for task in serving if task is not None))


async def post(sender: Sender, url: str, body: bytes = b"{}", timeout: float = 5.0) -> Outcome:
    return await sender.post(EndpointSettings(url=url, timeout=timeout), "d1", "sess_1", body)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 7\r\n\r\n" + OK,
    ],
)
async def test_a_connection_is_kept_after_any_answer_whose_end_is_known(answer: bytes) -> None:
    async with receiver(answer) as (url, connections), Sender(LOCAL) as sender:
        outcomes = [await post(sender, url) for _ in range(3)]

    assert [outcome.verdict for outcome in outcomes] == [Verdict.DELIVERED] * 3
    assert connections == [3]


@pytest.mark.parametrize(
    ("answer", "hang_up"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", False),
        (b"HTTP/1.1 200 OK\r\n\r\nok", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", False),
        # An answer that nobody asked for would be taken for that to the next post.
        (OK + OK.replace(b"200 OK", b"410 No"), False),
    ],
)
async def test_a_connection_that_cannot_be_trusted_is_not_used_again(answer: bytes, hang_up: bool) -> None:
    async with receiver(answer, hang_up=hang_up) as (url, connections), Sender(LOCAL) as sender:
        outcomes = [await post(sender, url) for _ in range(2)]

    assert [(outcome.verdict, outcome.head) for outcome in outcomes] == [(Verdict.DELIVERED, b"ok")] * 2
    assert connections == [1, 1]


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (b"", "reset"),
        (b"HTTP/1.1 200", "reset"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", "reset"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "bad_answer"),
    ],
)
async def test_what_has_no_whole_status_line_is_a_failure_of_its_own_kind(answer: bytes, fault: str) -> None:
    async with receiver(answer, hang_up=True) as (url, _), Sender(LOCAL) as sender:
        outcome = await post(sender, url)

    assert (outcome.verdict, outcome.fault) == (Verdict.RETRY, fault)


@pytest.mark.parametrize("name", [*TAKEN, *CUT])
async def test_a_2xx_is_a_success_whatever_the_rest_of_the_answer_looks_like(name: str) -> None:
    answer, _ = TAKEN.get(name) or (CUT[name], False)
    async with receiver(answer, hang_up=True) as (url, _), Sender(LOCAL) as sender:
        outcomes = [await post(sender, url) for _ in range(2)]

    assert [(each.verdict, each.status, each.fault) for each in outcomes] == [(Verdict.DELIVERED, 200, "")] * 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
    ],
)
async def test_a_2xx_is_a_success_although_its_body_does_not_come(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.webhooks.client.exchange.BODY_SECONDS", 0.2)
    async with receiver(answer) as (url, connections), Sender(LOCAL) as sender:
        outcomes = [await post(sender, url, timeout=PATIENCE) for _ in range(2)]

    assert [(each.verdict, each.status) for each in outcomes] == [(Verdict.DELIVERED, 200)] * 2
    assert connections == [1, 1]


async def test_a_2xx_is_a_success_although_its_headers_do_not_end_in_time() -> None:
    async with receiver(b"HTTP/1.1 200 OK\r\nX-A: b\r\n") as (url, connections), Sender(LOCAL) as sender:
        outcomes = [await post(sender, url, timeout=2.0) for _ in range(2)]

    assert [(each.verdict, each.status) for each in outcomes] == [(Verdict.DELIVERED, 200)] * 2
    assert connections == [1, 1]


async def test_what_a_failure_says_counts_although_its_body_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.webhooks.client.exchange.BODY_SECONDS", 0.2)
    answer = b"HTTP/1.1 429 Slow Down\r\nRetry-After: 17\r\nContent-Length: 100\r\n\r\nwait"
    async with receiver(answer) as (url, _), Sender(LOCAL) as sender:
        outcome = await post(sender, url, timeout=PATIENCE)

    assert (outcome.verdict, outcome.fault, outcome.status) == (Verdict.RETRY, "throttled", 429)
    assert (outcome.retry_after, outcome.head) == (17.0, b"wait")


async def test_an_answer_before_all_was_sent_counts_and_ends_the_connection() -> None:
    connections = 0
    serving: set[asyncio.Task[None] | None] = set()

    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        serving.add(asyncio.current_task())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            await writer.drain()
            while await reader.read(65536):
                pass
        writer.close()

    server = await asyncio.start_server(hasty, "127.0.0.1", 0, limit=1024)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with Sender(LOCAL) as sender:
        outcomes = [await post(sender, url, bytes(32 * 1024 * 1024)) for _ in range(2)]
    server.close()
    await asyncio.gather(*(task for task in serving if task is not None))

    assert [(each.verdict, each.fault) for each in outcomes] == [(Verdict.FINAL, "payload_too_large")] * 2
    assert connections == 2


async def test_a_post_that_is_cancelled_leaves_no_connection_behind() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun.set()
        with contextlib.suppress(ConnectionError):
            await reader.read(-1)
        writer.close()
        ended.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server, Sender(LOCAL) as sender:
        task = asyncio.ensure_future(post(sender, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"))
        async with asyncio.timeout(PATIENCE):
            await begun.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        async with asyncio.timeout(PATIENCE):
            await ended.wait()

        assert task.cancelled()


async def test_a_connection_that_rested_too_long_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.webhooks.client.pool.KEEPALIVE_SECONDS", 0.0)
    async with receiver(OK) as (url, connections), Sender(LOCAL) as sender:
        await post(sender, url)
        await post(sender, url)

    assert connections == [1, 1]


class Closing:
    """A receiver that answers one post a connection and closes it at the next, before a byte of an answer."""

    def __init__(self, partial: bytes = b"", always: bool = False) -> None:
        self.connections: list[int] = []
        self.partial = partial
        self.always = always

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.connections)
        self.connections.append(0)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"{}")
                self.connections[number] += 1
                if self.connections[number] > 1 or (self.always and number):
                    writer.write(self.partial)
                    break
                writer.write(OK)
                await writer.drain()
        writer.close()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        async with await asyncio.start_server(self, "127.0.0.1", 0) as server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def test_a_kept_connection_that_the_receiver_closes_costs_no_attempt() -> None:
    closing = Closing()
    async with closing.serving() as url, Sender(LOCAL) as sender:
        outcomes = [await post(sender, url) for _ in range(4)]

    assert [each.fault for each in outcomes] == [""] * 4
    # The second post went out on the first connection, and again at once on the second; and so on.
    assert closing.connections == [2, 2, 2, 1]


async def test_a_post_is_repeated_at_once_only_once() -> None:
    closing = Closing(always=True)
    async with closing.serving() as url, Sender(LOCAL) as sender:
        outcomes = [await post(sender, url) for _ in range(2)]

    assert [(each.verdict, each.fault) for each in outcomes] == [(Verdict.DELIVERED, ""), (Verdict.RETRY, "reset")]
    assert closing.connections == [2, 1]


async def test_a_post_whose_answer_has_begun_is_not_repeated_at_once() -> None:
    closing = Closing(partial=b"HTTP/1.1 2")
    async with closing.serving() as url, Sender(LOCAL) as sender:
        outcomes = [await post(sender, url) for _ in range(2)]

    assert [(each.verdict, each.fault) for each in outcomes] == [(Verdict.DELIVERED, ""), (Verdict.RETRY, "reset")]
    assert closing.connections == [2]


async def test_a_post_that_times_out_on_a_kept_connection_is_not_repeated_at_once() -> None:
    posts = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal posts
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"{}")
                posts += 1
                if posts == 1:
                    writer.write(OK)
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server, Sender(LOCAL) as sender:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        outcomes = [await post(sender, url), await post(sender, url, timeout=0.3)]
        await eventually(lambda: posts == 2)

    assert [each.fault for each in outcomes] == ["", "timeout"] and posts == 2


async def test_what_a_receiver_says_unasked_is_not_taken_for_its_next_answer() -> None:
    heard = asyncio.Event()
    connections: list[asyncio.StreamWriter] = []

    async def talkative(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"{}")
            writer.write(OK)
            await writer.drain()
            await heard.wait()
            writer.write(OK.replace(b"200 OK", b"410 Gone"))
            await reader.read()

    server = await asyncio.start_server(talkative, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server, Sender(LOCAL) as sender:
        first = await post(sender, url)
        heard.set()
        # Read by us once the loop has turned; the receiver's bytes are on this machine by then.
        await connections[0].drain()
        for _ in range(10):
            await asyncio.sleep(0)
        outcomes = [first, await post(sender, url)]
        for writer in connections:
            writer.close()

    assert [each.verdict for each in outcomes] == [Verdict.DELIVERED] * 2
    assert len(connections) == 2


async def test_who_speaks_before_being_asked_is_no_receiver_and_not_tried_again_at_once() -> None:
    connections = 0

    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        with contextlib.suppress(ConnectionError):
            writer.write(b"220 mail.example.com ESMTP\r\n")
            await reader.read()
        writer.close()

    server = await asyncio.start_server(hasty, "127.0.0.1", 0)
    async with server, Sender(LOCAL) as sender:
        outcome = await post(sender, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")

    assert (outcome.verdict, outcome.fault) == (Verdict.RETRY, "bad_answer")
    assert connections == 1


async def test_a_header_cannot_begin_another_request() -> None:
    async with receiver(OK) as (url, connections), Sender(LOCAL) as sender:
        outcome = await sender.post(
            EndpointSettings(url=url, headers={"X-Ours": "a\r\n\r\nPOST / HTTP/1.1"}), "d1", "sess_1", b"{}"
        )

    assert (outcome.verdict, outcome.fault) == (Verdict.FINAL, "bad_url")
    assert connections == []
