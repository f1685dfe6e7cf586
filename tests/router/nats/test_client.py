"""What comes from the server is read whole, in order and once, however the network cuts it into pieces."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.protocol.parser import Parser

from router.nats.client import MAX_WAITING, NatsClient

TAPPED, OTHER = 1, 2


class Said(NamedTuple):
    """One thing a server says: its bytes, and what a handler should get of it (None: not a message)."""

    wire: bytes
    heard: tuple[int, str, str, bytes, bytes] | None


def message(sid: int, subject: str, reply: str, payload: bytes, headers: bytes | None) -> Said:
    place = f"{subject} {sid} {reply} " if reply else f"{subject} {sid} "
    sizes = f"{len(payload)}" if headers is None else f"{len(headers)} {len(headers) + len(payload)}"
    head = f"{'MSG' if headers is None else 'HMSG'} {place}{sizes}\r\n"
    wire = head.encode() + (headers or b"") + payload + b"\r\n"
    return Said(wire, (sid, subject, reply, payload, headers or b""))


SUBJECTS = st.sampled_from(["ev.a.b.c", "live.ev.job.x.said", "_INBOX.abc.1"])
PAYLOADS = st.binary(max_size=60) | st.sampled_from([b"\r\n", b"MSG a 1 3\r\nabc\r\n", b"x" * 5000])
HEADERS = st.none() | st.sampled_from(
    [b"NATS/1.0\r\n\r\n", b"NATS/1.0 404 No Messages\r\n\r\n", b"NATS/1.0\r\nA: b\r\n\r\n"]
)
MESSAGES = st.builds(
    message, st.sampled_from([TAPPED, TAPPED, OTHER]), SUBJECTS, st.sampled_from(["", "_R.1"]), PAYLOADS, HEADERS
)
CONTROLS = st.sampled_from([Said(b"PING\r\n", None), Said(b"+OK\r\n", None), Said(b"PONG\r\n", None)])


class Heard(NatsClient):
    """A wire without a server: it notes what is handed out."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[int, str, str, bytes, bytes]] = []
        self.controls = 0
        self.taps[TAPPED] = lambda *said: self.heard.append((TAPPED, *said))

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        if sid in self.taps:
            await super()._process_msg(sid, subject, reply, data, headers)
        else:
            self.heard.append((sid, bytes(subject).decode(), bytes(reply).decode(), bytes(data), bytes(headers or b"")))

    async def _process_ping(self) -> None:
        self.controls += 1

    async def _process_pong(self) -> None:
        self.controls += 1


async def read(said: list[Said], cuts: list[int]) -> Heard:
    wire = Heard()
    stream = b"".join(each.wire for each in said)
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    for begin, end in pairwise(places):
        await wire._ps.parse(stream[begin:end])
    return wire


@settings(max_examples=300)
@given(st.lists(MESSAGES | CONTROLS, max_size=12), st.lists(st.integers(0, 10_000), max_size=8))
def test_all_that_is_said_is_heard_once_and_in_order(said: list[Said], cuts: list[int]) -> None:
    wire = asyncio.run(read(said, cuts))

    assert wire.heard == [each.heard for each in said if each.heard is not None]
    assert wire.controls == sum(each.wire in (b"PING\r\n", b"PONG\r\n") for each in said)
    assert wire.stats["in_msgs"] == sum(each.heard is not None and each.heard[0] == TAPPED for each in said)


def test_a_message_larger_than_what_may_wait_is_gathered_by_nats_py() -> None:
    large = message(TAPPED, "ev.a.b.c", "", b"x" * (3 * MAX_WAITING), None)
    small = message(TAPPED, "ev.a.b.c", "", b"y", None)

    wire = asyncio.run(read([small, large, small], list(range(0, 4 * MAX_WAITING, 32_768))))

    assert [len(heard[3]) for heard in wire.heard] == [1, 3 * MAX_WAITING, 1]


def test_what_waits_for_its_rest_is_forgotten_with_the_connection() -> None:
    whole = message(TAPPED, "ev.a.b.c", "", b"payload", None)

    async def lose_one_half_way() -> Heard:
        wire = Heard()
        await wire._ps.parse(whole.wire[:-5])
        wire._ps.reset()
        await wire._ps.parse(whole.wire)
        return wire

    assert asyncio.run(lose_one_half_way()).heard == [whole.heard]


def test_a_handler_that_fails_does_not_keep_the_next_message_from_its_own() -> None:
    async def two_of_which_one_fails() -> list[bytes]:
        wire, heard = Heard(), []

        def fail_on_one(_subject: str, _reply: str, payload: bytes, _headers: bytes) -> None:
            if payload == b"1":
                raise ValueError
            heard.append(payload)

        wire.taps[TAPPED] = fail_on_one
        await wire._ps.parse(b"".join(message(TAPPED, "a", "", each, None).wire for each in (b"1", b"2")))
        return heard

    assert asyncio.run(two_of_which_one_fails()) == [b"2"]


def test_nats_py_still_has_what_is_overridden() -> None:
    assert {"parse", "reset"} <= set(vars(Parser))
    assert isinstance(NatsClient()._ps, Parser)
    # What keeps credentials off a connection that is not encrypted.
    assert {"_process_info", "_connect_command"} <= set(vars(Client))
