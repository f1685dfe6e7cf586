"""The WebSocket protocol over sockets that were taken over: messages, compression, pings and the closing handshake."""

from __future__ import annotations

import asyncio
import contextlib
import json
import zlib

import pytest

from edge.hub import heartbeats
from edge.settings import FastPathSettings, SessionSettings
from edge.transports import frames
from edge.transports.frames import frame
from tests.edge.conftest import RunningEdge
from tests.edge.transports.fast.raw import connected, drop_packets, handshake, next_frame, next_of, until
from tests.edge.transports.fast.running import PATHS, running
from tests.edge.transports.test_frames import client_frame
from tests.waiting import PATIENCE, eventually, in_time


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(frames.TEXT, b"not masked"), 1002),
        (client_frame(frames.TEXT, b"\xff\xff"), 1007),
        (client_frame(frames.BINARY, b"x" * 70_000), 1009),
        (bytes([0xC1]) + client_frame(frames.TEXT, b"compressed")[1:], 1002),
        (client_frame(frames.CLOSE, b"\x03"), 1002),
    ],
)
async def test_a_client_that_breaks_the_protocol_is_cut_off_with_the_reason(
    lane: RunningEdge, sent: bytes, code: int
) -> None:
    session = await lane.session()
    async with handshake(lane, session) as (reader, writer):
        await next_of(reader, frames.TEXT, b"ready")

        writer.write(sent)

        closed = await next_of(reader, frames.CLOSE)
        assert int.from_bytes(closed[:2], "big") == code
        assert await in_time(reader.read()) == b""

        async def gone() -> bool:
            return (await lane.stats(session))["readers"]["websocket"] == 0

        await eventually(gone)


AGREED = b"permessage-deflate; server_no_context_takeover; client_no_context_takeover"


async def test_what_is_long_is_compressed_for_clients_that_take_it(lane: RunningEdge, entity: str) -> None:
    session = await lane.session(subjects=[f"job.{entity}.>"])
    text = "so many words " * 400
    async with handshake(lane, session, offer="permessage-deflate; client_max_window_bits", agreed=AGREED) as (
        reader,
        _,
    ):
        await next_of(reader, frames.TEXT, b"ready")
        await lane.publish(
            {"subject": f"job.{entity}.said", "data": {"n": 1, "text": text}},
            {"subject": f"job.{entity}.said", "data": {"n": 2}},
        )
        pressed = await next_of(reader, frames.TEXT | 0x40)
        assert len(pressed) < 500
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        assert json.loads(inflater.decompress(pressed + b"\0\0\xff\xff"))["data"] == {"n": 1, "text": text}
        assert json.loads(await next_of(reader, frames.TEXT))["data"] == {"n": 2}


async def test_compressed_clients_and_others_read_the_same(lane: RunningEdge, entity: str) -> None:
    session = await lane.session(subjects=[f"job.{entity}.>"])
    async with (
        lane.socket(session, compression="deflate") as one,
        lane.socket(session, compression=None) as other,
    ):
        assert one.raw.response is not None
        assert "permessage-deflate" in one.raw.response.headers["Sec-WebSocket-Extensions"]
        for socket in (one, other):
            await socket.control("ready")
            await socket.raw.send(json.dumps({"control": "ping", "id": "x" * 5000}))
            assert (await socket.control("pong"))["id"] == "x" * 5000
        await lane.publish(*({"subject": f"job.{entity}.said", "data": {"text": "word " * 10**at}} for at in range(5)))
        seen = [await socket.events(5) for socket in (one, other)]
    assert seen[0] == seen[1]
    assert [len(event["data"]["text"]) for event in seen[0]] == [5, 50, 500, 5000, 50_000]


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (zlib.compress(b" " * 10_000_000, wbits=-15), 1009),
        (b"\xff\xff\xff\xff", 1007),
        (zlib.compress(b"\xff\xfe", wbits=-15), 1007),
    ],
)
async def test_what_does_not_inflate_to_a_message_is_refused(lane: RunningEdge, payload: bytes, code: int) -> None:
    session = await lane.session()
    async with handshake(lane, session, offer="permessage-deflate", agreed=AGREED) as (reader, writer):
        await next_of(reader, frames.TEXT, b"ready")
        sent = client_frame(frames.TEXT, payload)
        writer.write(bytes([0xC1]) + sent[1:])
        assert int.from_bytes((await next_of(reader, frames.CLOSE))[:2], "big") == code


@pytest.mark.parametrize("payload", [b"", (1000).to_bytes(2, "big") + b"enough", (4321).to_bytes(2, "big")])
async def test_a_client_s_close_is_answered_with_its_code(lane: RunningEdge, payload: bytes) -> None:
    session = await lane.session()
    async with handshake(lane, session) as (reader, writer):
        await next_of(reader, frames.TEXT, b"ready")

        writer.write(client_frame(frames.CLOSE, payload) + client_frame(frames.PING, b"after"))

        assert await next_of(reader, frames.CLOSE) == payload[:2]
        assert await in_time(reader.read()) == b""


async def test_control_frames_may_stand_inside_a_fragmented_message(lane: RunningEdge) -> None:
    session = await lane.session()
    async with handshake(lane, session) as (reader, writer):
        await next_of(reader, frames.TEXT, b"ready")

        writer.write(client_frame(frames.TEXT, b'{"control":', fin=False))
        writer.write(client_frame(frames.PING, b"between"))
        assert await next_of(reader, frames.PONG) == b"between"
        writer.write(client_frame(0, b'"ping","id":1}'))

        assert json.loads(await next_of(reader, frames.TEXT, b"pong"))["id"] == 1


async def test_a_socket_that_leaves_two_pings_unanswered_is_closed(nats_server: str) -> None:
    impatient = FastPathSettings(ping=1.5, close_patience=1.5)
    async with running(
        nats_server, PATHS["lane-uvloop"], lanes=impatient, session=SessionSettings(heartbeat=0.2)
    ) as edge:
        session = await edge.session()
        async with handshake(edge, session) as (quiet, _), handshake(edge, session) as (lively, writer):

            async def answer() -> None:
                while True:
                    opcode, payload = await next_frame(lively)
                    assert opcode != frames.CLOSE
                    if opcode == frames.PING:
                        writer.write(client_frame(frames.PONG, payload))

            answering = asyncio.ensure_future(answer())
            pings = 0
            async with asyncio.timeout(PATIENCE):
                while (said := await next_frame(quiet))[0] != frames.CLOSE:
                    pings += said[0] == frames.PING
            assert int.from_bytes(said[1][:2], "big") == 4007 and pings >= 2
            assert await in_time(quiet.read()) == b""
            assert not answering.done()
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)


async def test_of_many_sockets_each_is_pinged_rarely(nats_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeats, "SHORTEST", 0.2)
    monkeypatch.setattr(heartbeats, "LEVEL_READERS", 1)
    settings = SessionSettings(heartbeat=None)
    async with running(nats_server, PATHS["lane-uvloop"], lanes=FastPathSettings(ping=0.2), session=settings) as edge:
        session = await edge.session()
        async with (
            handshake(edge, session) as (first, answers),
            handshake(edge, session) as (second, _),
            handshake(edge, session) as (many, answers_of_many),
        ):
            for reader in (first, second, many):
                await next_of(reader, frames.TEXT, b"ready")

            async def heartbeats_between_pings(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
                await next_of(reader, frames.PING)
                writer.write(client_frame(frames.PONG, b""))
                count = 0
                while (await next_frame(reader))[0] == frames.PONG:
                    count += 1
                writer.write(client_frame(frames.PONG, b""))
                return count

            async def often() -> bool:
                return await heartbeats_between_pings(first, answers) <= 2

            async def rarely() -> bool:
                return await heartbeats_between_pings(many, answers_of_many) >= 3

            await asyncio.gather(eventually(often), eventually(rarely))


async def test_what_looks_like_an_answer_inside_a_message_belongs_to_the_message(lane: RunningEdge) -> None:
    session = await lane.session()
    said = b'{"control":"ping","id":1}'
    # Masked, its last bytes are those of an answer to a ping.
    at = 20
    mask = bytes([said[at] ^ 0x8A, said[at + 1] ^ 0x80, 1, 2])
    form = bytes([0x80 | frames.TEXT, 0x80 | len(said)]) + mask
    form += bytes(byte ^ mask[place % 4] for place, byte in enumerate(said))
    rest = form[6 + at :] + client_frame(frames.PONG, b"")[:1]
    assert len(rest) == 6 and rest.startswith(b"\x8a\x80")
    async with handshake(lane, session) as (reader, writer):
        await next_of(reader, frames.TEXT, b"ready")

        writer.write(form[: 6 + at])
        # Each part is read by itself; together they would be parsed in one.
        await asyncio.sleep(0.2)
        writer.write(rest)

        assert json.loads(await next_of(reader, frames.TEXT, b"pong"))["id"] == 1


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_a_client_that_vanishes_from_the_network_is_found_without_a_ping(
    nats_server: str, transport: str
) -> None:
    patient = FastPathSettings(ping=3600.0, unacknowledged=1.0)
    async with running(
        nats_server, PATHS["lane-uvloop"], lanes=patient, session=SessionSettings(heartbeat=0.2)
    ) as edge:
        session = await edge.session()

        async def count() -> int:
            return int((await edge.stats(session))["readers"][transport])

        async with connected(edge) as (reader, writer), handshake(edge, session) as (other, _):
            path = {"websocket": "ws", "sse": "sse"}[transport]
            upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            upgrade += "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
            head = f"GET /callbacks/sessions/{session}/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            writer.write(f"{head}{upgrade if path == 'ws' else ''}\r\n".encode())
            await until(reader, b'"session_id"')
            before = await count()

            drop_packets(writer.get_extra_info("socket"))

            async def gone() -> bool:
                return await count() == before - 1

            await eventually(gone)
            await next_of(other, frames.PONG)


async def test_silence_is_told_by_pings_and_pongs_where_no_controls_are_asked_for(nats_server: str) -> None:
    async with running(nats_server, PATHS["lane-uvloop"], session=SessionSettings(heartbeat=0.2)) as edge:
        session = await edge.session(subjects=["job.nobody.>"])
        async with handshake(edge, session) as (reader, _):
            said = [await next_frame(reader) for _ in range(4)]

    assert said[0][0] == frames.TEXT
    # At most one of them is to be answered.
    assert said[1:].count((frames.PONG, b"")) >= 2 and set(said[1:]) <= {(frames.PONG, b""), (frames.PING, b"")}


async def test_a_flood_of_pings_that_reads_nothing_back_is_held_off(nats_server: str) -> None:
    async with running(
        nats_server, PATHS["lane-uvloop"], session=SessionSettings(send_timeout=1.0, heartbeat=0.5)
    ) as edge:
        session = await edge.session()
        async with handshake(edge, session) as (_reader, writer):
            flood = client_frame(frames.PING, b"x" * 125) * 4000
            async with asyncio.timeout(PATIENCE):
                with contextlib.suppress(ConnectionError):
                    # It stops taking them long before the end, and cuts the connection after the send timeout.
                    for _ in range(2000):
                        writer.write(flood)
                        await writer.drain()
                    pytest.fail("a gigabyte of pings was taken without one answer being read")
