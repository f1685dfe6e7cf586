"""The body of an SSE answer: in chunks, each whole events, and ended only where the server ends it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
import requests

from edge.settings import SessionSettings
from tests.edge.transports.fast.running import PATHS, Path, StoppableEdge, running
from tests.waiting import PATIENCE, eventually

# Long enough that no heartbeat pushes an event out.
QUIET = SessionSettings(heartbeat=60.0)


@pytest.fixture(params=PATHS.values(), ids=PATHS)
async def edge(nats_server: str, request: pytest.FixtureRequest) -> AsyncIterator[StoppableEdge]:
    async with running(nats_server, request.param, session=QUIET) as edge:
        yield edge


class Stream:
    """One answer, read from its socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.head = b""

    @classmethod
    async def open(cls, edge: StoppableEdge, session: str, version: str = "1.1") -> Stream:
        stream = cls(*await asyncio.open_connection("127.0.0.1", edge.port))
        path = f"/callbacks/sessions/{session}/sse"
        stream.writer.write(f"GET {path} HTTP/{version}\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        stream.head = (await stream.reader.readuntil(b"\r\n\r\n")).lower()
        return stream

    async def chunk(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            body = await self.reader.readexactly(size + 2)
        assert body.endswith(b"\r\n")
        return body[:-2]

    async def until(self, text: bytes) -> bytes:
        """The chunk that has a text."""
        while text not in (said := await self.chunk()):
            assert said, "the body ended"
        return said


async def test_each_chunk_is_whole_events_and_the_last_one_says_that_the_server_ended_it(
    edge: StoppableEdge, entity: str
) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    stream = await Stream.open(edge, session)
    assert b"transfer-encoding: chunked\r\n" in stream.head
    assert b"content-length" not in stream.head

    await stream.until(b"event: ready")
    for n in range(3):
        (cursor,) = await edge.numbers(entity, 1, start=n)
        said = await stream.until(cursor.encode())
        assert said.startswith(b"data: {") and said.endswith(b"\n\n")
    await edge.http.delete(f"/callbacks/sessions/{session}")
    said = await stream.until(b"event: bye")
    assert b"session_deleted" in said and said.endswith(b"\n\n")

    assert await stream.chunk() == b""
    assert await stream.reader.read() == b""
    stream.writer.close()


async def test_a_shutdown_ends_the_body_in_order(edge: StoppableEdge, entity: str) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    stream = await Stream.open(edge, session)
    await stream.until(b"event: ready")

    edge.stop()
    await stream.until(b"event: bye")

    assert await stream.chunk() == b""
    assert await stream.reader.read() == b""
    stream.writer.close()


async def test_a_stream_that_is_cut_off_has_no_end(nats_server: str, entity: str) -> None:
    # A client that reads nothing is cut off after this many seconds.
    limits = SessionSettings(heartbeat=60.0, send_timeout=0.3, mailbox_events=5)
    async with running(nats_server, PATHS["lane"], session=limits) as edge:
        session = await edge.session(subjects=[f"job.{entity}.>"])
        stream = await Stream.open(edge, session)
        await stream.until(b"event: ready")
        stream.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for n in range(20):
            await edge.publish({"subject": f"job.{entity}.output", "data": {"n": n, "text": "x" * 500_000}})

        async def gone() -> bool:
            return (await edge.stats(session))["readers"]["sse"] == 0

        await eventually(gone)
        stream.writer.transport.resume_reading()  # type: ignore[attr-defined]
        said = b""
        try:
            while part := await stream.reader.read(1 << 20):
                said = (said + part)[-100:]
        except ConnectionError:
            pass

        assert not said.endswith(b"0\r\n\r\n")
        stream.writer.close()


async def test_an_http_1_0_client_gets_no_chunks(nats_server: str, entity: str) -> None:
    async with running(nats_server, PATHS["lane-uvloop"], session=QUIET) as edge:
        session = await edge.session(subjects=[f"job.{entity}.>"])
        stream = await Stream.open(edge, session, version="1.0")
        (cursor,) = await edge.numbers(entity, 1)
        async with asyncio.timeout(PATIENCE):
            said = await stream.reader.readuntil(cursor.encode() + b"\n\n")
            await edge.http.delete(f"/callbacks/sessions/{session}")
            rest = await stream.reader.read()

        assert b"transfer-encoding" not in stream.head and b"connection: close" in stream.head
        assert said.startswith(b":   ") and b"\r\n" not in said
        assert rest.startswith(b"event: bye\n") and rest.endswith(b"\n\n")
        stream.writer.close()


async def test_a_reader_on_urllib3_has_an_event_though_nothing_comes_behind_it(
    edge: StoppableEdge, entity: str
) -> None:
    session = await edge.session(subjects=[f"job.{entity}.>"])
    seen: list[int] = []
    opened = threading.Event()

    def lines() -> Iterator[str]:
        url = f"{edge.url}/callbacks/sessions/{session}/sse"
        with requests.get(url, stream=True, timeout=PATIENCE) as answer:
            yield from answer.iter_lines(decode_unicode=True)

    def read() -> None:
        for line in lines():
            opened.set()
            if line.startswith("data: ") and '"n"' in line:
                seen.append(json.loads(line[6:])["data"]["n"])
            if line == "event: bye":
                return

    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(read))
        await eventually(opened.is_set)
        for n in range(4):
            await edge.numbers(entity, 1, start=n)
            await eventually(lambda: seen == list(range(n + 1)))
        await edge.http.delete(f"/callbacks/sessions/{session}")


async def test_a_client_that_takes_a_few_bytes_at_a_time_reads_every_chunk_whole(nats_server: str, entity: str) -> None:
    path = Path(True, PATHS["lane-uvloop"].loop)
    async with running(nats_server, path, session=SessionSettings(heartbeat=60.0, mailbox_events=20)) as edge:
        session = await edge.session(subjects=[f"job.{entity}.>"])
        stream = await Stream.open(edge, session)
        await stream.until(b"event: ready")
        # More than the sockets hold: some of it goes out in parts, and some is read again from the store.
        stream.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for n in range(0, 60, 3):
            events = [
                {"subject": f"job.{entity}.output", "data": {"n": m, "text": "x" * 300_000}} for m in range(n, n + 3)
            ]
            await edge.publish(*events)
        stream.writer.transport.resume_reading()  # type: ignore[attr-defined]
        seen: list[int] = []
        while len(seen) < 60:
            said = await stream.chunk()
            told = [json.loads(line[6:]) for line in said.split(b"\n") if line.startswith(b"data: {")]
            seen += [event["data"]["n"] for event in told]

        assert seen == list(range(60))
        stream.writer.close()
