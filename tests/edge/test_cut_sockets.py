"""Clients that people really have, on a wire that breaks at random bytes: each ends with exactly the stream's events.

Which bytes is up to a seed; a failure names it, and CALLBOARD_TEST_CHAOS_SEED=… asks for it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import subprocess
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import httpx_sse
import pytest
import websockets
from playwright.async_api import async_playwright

from edge.settings import SessionSettings
from tests.browser.conftest import ARGUMENTS, chromium
from tests.edge.conftest import EdgeFactory, RunningEdge
from tests.npm import node_with
from tests.proxy import Cut, Proxy
from tests.waiting import PATIENCE, eventually

__all__ = ["chromium"]

SEED = int(os.environ.get("CALLBOARD_TEST_CHAOS_SEED", "0")) or random.SystemRandom().randrange(2**32)
CUTS = 60
# Readers that wait a second before they come back are many at once instead; browsers open at most six sockets a host.
PATIENT_READERS, PATIENT_CUTS = 5, 30
# Bytes within which the head of every answer ends.
HTTP_HEAD = 600
# Runs on every node that Debian and its users still have.
EVENTSOURCE = "eventsource@3.0.7"

LOST = (httpx.TransportError, websockets.WebSocketException, OSError, EOFError, TimeoutError)


class Reader:
    """What one client has got so far, as cursors, and where it goes on."""

    def __init__(self, start: str) -> None:
        self.place = start
        self.seen: list[str] = []


Client = Callable[[str, Reader], Awaitable[None]]


async def by_httpx_sse(url: str, reader: Reader) -> None:
    """Reads one connection of server-sent events to its end."""
    async with (
        httpx.AsyncClient(timeout=PATIENCE, trust_env=False, verify=False) as http,
        httpx_sse.aconnect_sse(http, "GET", f"{url}/sse", headers={"Last-Event-ID": reader.place}) as source,
    ):
        async for event in source.aiter_sse():
            assert event.event != "gap", event.data
            reader.place = event.id
            if event.event == "message":
                assert event.json()["cursor"] == event.id
                reader.seen.append(event.id)


async def by_websocket(url: str, reader: Reader) -> None:
    """Reads one WebSocket to its end."""
    address = f"{url.replace('http', 'ws', 1)}/ws?cursor={reader.place}"
    async with websockets.connect(address, proxy=None, open_timeout=PATIENCE, close_timeout=1) as socket:
        async for message in socket:
            said = json.loads(message)
            assert said.get("control") != "gap", said
            reader.place = said["cursor"]
            if "control" not in said:
                reader.seen.append(said["cursor"])


async def by_polling(url: str, reader: Reader) -> None:
    """Polls, on one connection, until it breaks."""
    async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False, verify=False) as http:
        while True:
            query = {"cursor": reader.place, "limit": "7", "wait": "5"}
            page = (await http.get(f"{url}/events", params=query)).raise_for_status().json()
            assert "gap" not in page, page
            reader.seen += [event["cursor"] for event in page["events"]]
            reader.place = page["next"]


@contextlib.asynccontextmanager
async def coming_back(client: Client, url: str, reader: Reader) -> AsyncIterator[None]:
    """Lets a client read in the background, and come back at its place whenever its connection is lost."""

    async def forever() -> None:
        while True:
            with contextlib.suppress(*LOST):
                await client(url, reader)

    async with asyncio.TaskGroup() as group:
        reading = group.create_task(forever())
        yield
        reading.cancel()


def cutting(head: int, most: int, *, whole_head: bool = False) -> Callable[[], Cut]:
    """Chooses bytes to cut at: some before the first event, most of them among the events.

    Half of the cuts are resets, and half look like a regular end; with `whole_head` only resets come within HTTP's head.
    """
    rng = random.Random(SEED)

    def choose() -> Cut:
        after = rng.randrange(1, head) if rng.random() < 0.25 else rng.randrange(head, most)
        return Cut(after, reset=rng.random() < 0.5 or (whole_head and after < HTTP_HEAD))

    return choose


async def publish_while_it_breaks(
    edge: RunningEdge, proxy: Proxy, entity: str, cuts: int, arrived: Callable[[], Awaitable[int]]
) -> list[str]:
    """Publishes as readers keep up, until the wire has broken often enough; then one more on a wire that holds."""
    cursors: list[str] = []

    async def broken_or_arrived(before: int) -> bool:
        return proxy.cuts > before or await arrived() >= len(cursors)

    while proxy.cuts < cuts:
        cursors += await edge.numbers(entity, 6, len(cursors))
        before = proxy.cuts
        await eventually(lambda: broken_or_arrived(before))
    proxy.cut = None
    proxy.sever()
    # Comes after all that might yet come twice.
    return cursors + await edge.numbers(entity, 1, len(cursors))


@pytest.mark.parametrize(
    ("client", "head", "most"),
    [(by_httpx_sse, 2600, 9000), (by_websocket, 350, 4000), (by_polling, 300, 9000)],
    ids=["httpx-sse", "websockets", "polling"],
)
async def test_a_reader_s_record_equals_the_stream_s(
    edge: RunningEdge, entity: str, client: Client, head: int, most: int
) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    reader = Reader((await edge.poll(session))["next"])

    async def arrived() -> int:
        return len(reader.seen)

    async with (
        Proxy(edge.port, cut=cutting(head, most)) as proxy,
        coming_back(client, f"{proxy.url}/callbacks/sessions/{session}", reader),
    ):
        cursors = await publish_while_it_breaks(edge, proxy, entity, CUTS, arrived)
        await eventually(lambda: reader.seen[-1:] == cursors[-1:])

    assert reader.seen == cursors, f"seed {SEED}"
    assert proxy.cuts >= CUTS


# Bytes by which the heads and ends of chunks may differ between two answers with the same two events.
CHUNKS = 32


async def test_half_an_event_moves_nobody_s_place(edge: RunningEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    start = (await edge.poll(session))["next"]
    first, second = await edge.numbers(entity, 2)
    url = f"/callbacks/sessions/{session}"
    wire = await _raw(edge.port, f"{url}/sse", start, second)
    begin, end = wire.index(b"\n\n", wire.index(b"id: " + first.encode())) + 2, len(wire)

    # Cut at each byte of the second event in turn. In how many chunks the events come is not the same each time, so the
    # places of the bytes differ a little between connections.
    for at in range(begin, end):
        reader = Reader(start)
        async with Proxy(edge.port, cut=lambda: Cut(at, reset=False)) as proxy:
            with contextlib.suppress(*LOST):
                await by_httpx_sse(f"{proxy.url}{url}", reader)

        possible = [([first], first)]
        if at < begin + CHUNKS:
            possible.append(([], start))
        if at > end - CHUNKS:
            possible.append(([first, second], second))
        assert (reader.seen, reader.place) in possible, f"cut {end - at} bytes before the event's end"


@pytest.fixture
async def edge_with_heartbeats(edge_factory: EdgeFactory) -> AsyncIterator[RunningEdge]:
    async with edge_factory(session=SessionSettings(heartbeat=2.0)) as running:
        yield running


async def test_a_heartbeat_is_no_event_to_anybody(edge_with_heartbeats: RunningEdge, entity: str) -> None:
    edge = edge_with_heartbeats
    session = await edge.session(subjects=[f"job.{entity}.>"])
    first, second = await edge.numbers(entity, 2)
    async with (
        httpx.AsyncClient(timeout=PATIENCE, trust_env=False, verify=False) as http,
        httpx_sse.aconnect_sse(http, "GET", f"{edge.url}/callbacks/sessions/{session}/sse") as source,
    ):
        events = source.aiter_sse()
        while (await anext(events)).id != second:
            pass
        # Heartbeats come at one time for all, so behind this one the other reader has had its own.
        await _raw(edge.port, f"/callbacks/sessions/{session}/sse", first, second, until=b": heartbeat\n")
        (third,) = await edge.numbers(entity, 1, 2)
        told = [event async for event in _until(events, third)]

    assert [event.id for event in told if event.event == "message"] == [third]
    assert all(event.data for event in told)


async def _until(
    events: AsyncGenerator[httpx_sse.ServerSentEvent, None], last: str
) -> AsyncIterator[httpx_sse.ServerSentEvent]:
    async for event in events:
        yield event
        if event.id == last and event.event == "message":
            return


async def _raw(port: int, path: str, start: str, last: str, until: bytes = b"\n\n") -> bytes:
    """All bytes of an SSE answer from the status line to the end of one event, or to what comes behind it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nLast-Event-ID: {start}\r\n\r\n".encode())
    wire = await reader.readuntil(b"id: " + last.encode()) + await reader.readuntil(until)
    writer.close()
    return wire


@pytest.mark.browser
@pytest.mark.slow
async def test_the_browser_s_own_event_source_ends_with_the_stream_s_events(
    edge: RunningEdge,
    entity: str,
    chromium: str,
) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    async with (
        # Over plain HTTP chromium takes a head that ends early for a whole one, finds no content type and gives up for good.
        Proxy(edge.port, cut=cutting(2600, 9000, whole_head=True)) as proxy,
        async_playwright() as playwright,
        await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS) as browser,
    ):
        page = await browser.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        await page.goto(f"{edge.url}/livez")
        await page.evaluate(
            """([url, count]) => {
              window.readers = Array.from({ length: count }, () => {
                const reader = { source: new EventSource(url), seen: [] };
                reader.source.onmessage = (event) => reader.seen.push(event.lastEventId);
                return reader;
              });
            }""",
            [f"{proxy.url}/callbacks/sessions/{session}/sse", PATIENT_READERS],
        )

        async def arrived() -> int:
            fewest: int = await page.evaluate("Math.min(...readers.map((reader) => reader.seen.length))")
            return fewest

        cursors = await publish_while_it_breaks(edge, proxy, entity, PATIENT_CUTS, arrived)
        last = "(last) => readers.every((reader) => reader.seen.at(-1) === last)"
        await page.wait_for_function(last, arg=cursors[-1], timeout=PATIENCE * 1000)
        records = await page.evaluate("readers.map((reader) => reader.seen)")

    assert records == [cursors] * PATIENT_READERS, f"seed {SEED}"


NODE_READERS = """
import { EventSource } from "eventsource";
const [url, count] = process.argv.slice(2);
for (let reader = 0; reader < Number(count); reader++) {
  const source = new EventSource(url);
  source.onmessage = (event) => console.log(`${reader} ${event.lastEventId}`);
}
"""


@pytest.fixture
def node(tmp_path: Path) -> tuple[str, Path]:
    """Node, and a module beside which it finds the npm client `eventsource`."""
    node = node_with(tmp_path, EVENTSOURCE)
    script = tmp_path / "readers.mjs"
    script.write_text(NODE_READERS)
    return node, script


@pytest.mark.slow
async def test_the_event_source_of_npm_ends_with_the_stream_s_events(
    edge: RunningEdge, entity: str, node: tuple[str, Path]
) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    records: list[list[str]] = [[] for _ in range(PATIENT_READERS)]

    async def arrived() -> int:
        return min(map(len, records))

    async with Proxy(edge.port, cut=cutting(2600, 9000)) as proxy:
        url = f"{proxy.url}/callbacks/sessions/{session}/sse"
        process = await asyncio.create_subprocess_exec(
            *node, url, str(PATIENT_READERS), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        assert process.stdout is not None
        try:
            async with asyncio.TaskGroup() as group:
                listening = group.create_task(_listen(process.stdout, records))
                cursors = await publish_while_it_breaks(edge, proxy, entity, PATIENT_CUTS, arrived)
                await eventually(lambda: all(record[-1:] == cursors[-1:] for record in records))
                listening.cancel()
        finally:
            process.kill()
            await process.communicate()

    assert records == [cursors] * PATIENT_READERS, f"seed {SEED}"


async def _listen(lines: asyncio.StreamReader, records: list[list[str]]) -> None:
    async for line in lines:
        reader, cursor = line.decode().split()
        records[int(reader)].append(cursor)
