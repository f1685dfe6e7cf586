"""Every parser that reads what strangers say: whatever it is, it is read or refused with a code, and nothing breaks."""

from __future__ import annotations

import json
import random
from typing import Any

import msgpack
import pytest
import websockets
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.auth.connection import ConnectionAuth
from edge.errors import TITLES, Problem
from edge.transports.control import answer, read_opening
from edge.view import View
from router.broker import Broker
from router.codec import decode, from_json, to_json
from router.cursor import Cursor, Start, parse_start
from router.errors import BadEvent, BadInput
from router.event import Event
from router.filter import Filter
from router.frame import unpack
from router.subject import Subject, check_pattern, escape, unescape
from tests.edge.auth.conftest import SecuredEdge, SecuredFactory
from tests.edge.auth.tally import tried
from tests.waiting import eventually

usual = settings(max_examples=500)
TEXT = st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1"))
# Close to what is right, so that more than the first look is tried.
CURSORISH = st.from_regex(r"[0-9a-f]{0,2}-?[0-9a-f]{0,10}-?[0-9a-f]{0,14}\.?", fullmatch=True)
SUBJECTISH = st.from_regex(r"[a-z*>=. %/]{0,30}", fullmatch=True)
_WORDS = (
    *"()[]{}!,?:.-1'",
    "data",
    ".x",
    "[0]",
    "==",
    "&&",
    "||",
    "9e999",
    "size",
    ".all",
    ".matches",
    "(a+)+$",
    "type",
    "null",
    "in",
)
FILTERISH = st.lists(st.sampled_from(_WORDS), max_size=14).map(" ".join)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=6,
)
EVENT = st.fixed_dictionaries(
    {},
    optional={
        name: VALUES | st.just(good)
        for name, good in {
            "id": "0192", "type": "output", "source": "s", "subject": "job.a.output", "time": 1, "data": {"a": 1},
            "key": "k", "cause": "c", "trace": "t", "test": True,
        }.items()
    },
)  # fmt: skip


def _code(refused: Exception) -> str:
    assert isinstance(refused, (Problem, BadInput)) and refused.code in TITLES
    assert TITLES[refused.code][0] < 500
    return str(refused)


@usual
@given(TEXT | CURSORISH, TEXT | st.just("2026-01-01T00:00:00Z"), TEXT | st.integers())
def test_whatever_a_cursor_is(cursor: str, since: str, last: Any) -> None:
    for said in ((cursor, None, None), (None, since, None), (None, None, last), (cursor, since, last)):
        try:
            found = parse_start(*said)
        except (Problem, BadInput) as refused:
            tried("cursor, since, last", 400, _code(refused))
        else:
            tried("cursor, since, last")
            assert found is None or isinstance(found, Start)


@usual
@given(TEXT | SUBJECTISH)
def test_whatever_a_subject_is(text: str) -> None:
    for read in (Subject.check, check_pattern):
        try:
            found = str(read(text))
        except (Problem, BadInput) as refused:
            tried("subject, pattern", 400, _code(refused))
        else:
            tried("subject, pattern")
            assert found.isascii() and found.isprintable() and " " not in found and ".." not in found
    assert unescape(escape(text)) == text and not set(escape(text)) & set(".*> \r\n")


@usual
@given(TEXT | FILTERISH)
def test_whatever_a_filter_is(text: str) -> None:
    event = Event.new(Subject.check("job.a.output"), {"x": [1, "a"]}, source="s")
    try:
        passes = Filter.compile(text).matches(event)
    except (Problem, BadInput) as refused:
        tried("filter", 422, _code(refused))
    else:
        tried("filter")
        assert passes in (True, False)


class Listener:
    """As much of a reader as answers need."""

    state: Any = None
    cursor = "1-0-0"
    authorization: ConnectionAuth | None = None


def _start(said: Any) -> Start:
    return parse_start(said.get("cursor"), said.get("since"), said.get("last")) or Start(now=True)


_SAYABLE = VALUES.filter(lambda value: not isinstance(value, bytes))
CONTROLS = st.dictionaries(
    st.sampled_from(["control", "type", "token", "cursor", "since", "last", "id", "x"]),
    st.sampled_from(["ping", "resume", "refresh", "earliest", "", 0, None, True, [], {}, 10**30]) | _SAYABLE,
)  # fmt: skip


def _json(value: Any) -> bytes:
    return json.dumps(value, default=repr).encode()


@usual
@given(st.binary(max_size=80) | TEXT.map(str.encode) | CONTROLS.map(_json))
def test_whatever_a_websocket_message_is(raw: bytes) -> None:
    listener: Any = Listener()
    said = answer(raw, listener)
    first = read_opening(raw, _start)
    for found in (said, first):
        shown = "" if isinstance(found, Start) else to_json(found).decode()
        tried("WebSocket message", 400, shown)
        assert isinstance(found, Start) or found["control"] in ("pong", "error")


@usual
@given(
    st.binary(max_size=80) | EVENT.map(lambda value: msgpack.packb(value, default=repr) if _fits(value) else b"\xc1")
)
def test_whatever_lies_on_nats(payload: bytes) -> None:
    try:
        event = decode(payload)
    except BadEvent as refused:
        tried("msgpack from NATS", 400, str(refused))
    else:
        tried("msgpack from NATS")
        assert from_json(to_json(event.data)) is not None or event.data is not None
        View.of("sess_x", ["job.>"], None, "data.a == 1").passes(event)
    try:
        header, _ = unpack(payload)
    except BadInput as refused:
        tried("frame from NATS", 400, str(refused))
    else:
        tried("frame from NATS")
        assert isinstance(header, dict)


def _fits(value: Any) -> bool:
    try:
        msgpack.packb(value)
    except (OverflowError, ValueError, TypeError):
        return False
    return True


def _strange(chance: random.Random) -> str | bytes:
    """A message that no client of ours says: right but for a little, or not at all."""
    control, name = (
        chance.choice(["ping", "refresh", "resume", "", "bye", None]),
        chance.choice([1, "x", None, [1], 1e308]),
    )
    good = json.dumps({"control": control, "token": "a.b.c", "id": name})
    place = chance.randrange(len(good))
    match chance.randrange(6):
        case 0:
            return chance.randbytes(chance.randrange(200))
        case 1:
            return good[:place] + chance.choice('{}[]",:\\\x00\u2028') + good[place:]
        case 2:
            return good[:place]
        case 3:
            return "[" * chance.randrange(1, 5000)
        case 4:
            return good.encode("utf-16")
        case _:
            return chance.choice(
                ["null", "1", '""', "[]", "{}", "NaN", "1e999", '{"control":{"control":"ping"}}', "9" * 5000]
            )


@pytest.mark.parametrize("lane", [True, False])
async def test_whatever_is_said_over_a_socket_it_is_answered_and_the_socket_lives(
    secured: SecuredFactory, entity: str, lane: bool
) -> None:
    chance = random.Random(lane)
    async with secured(lane=lane) as edge:
        alice = edge.as_("alice", read=["job.>"], publish=["job.>"])
        mine = await alice.session(subjects=[f"job.{entity}.>"])
        async with alice.socket(mine) as socket:
            await socket.control("ready")
            for _ in range(300):
                await socket.raw.send(_strange(chance))
                said = await socket.next()
                while said["control"] in ("heartbeat", "position"):
                    said = await socket.next()
                tried("WebSocket message, over a socket", 400, json.dumps(said))
                assert said["control"] in ("error", "pong"), said
            await alice.numbers(entity, 1)
            assert (await socket.events(1))[0]["data"] == {"n": 0}
        async with alice.socket(mine) as socket:
            await socket.raw.send(b"\x00" * 70_000)
            with pytest.raises(websockets.ConnectionClosed):
                while True:
                    await socket.next()
        assert (await alice.poll(mine))["count"] == 1


async def test_whatever_is_published_past_the_edge_it_lives_and_delivers_what_is_an_event(
    edge: SecuredEdge, broker: Broker, entity: str
) -> None:
    chance = random.Random(7)
    alice = edge.as_("alice", read=["job.>"], publish=["job.>"])
    mine = await alice.session(subjects=[f"job.{entity}.>"])
    async with alice.socket(mine) as socket:
        await socket.control("ready")
        for number in range(300):
            whole = msgpack.packb(
                {
                    "id": "x",
                    "type": "output",
                    "source": "s",
                    "subject": f"job.{entity}.output",
                    "time": 1,
                    "data": {"n": number},
                }
            )
            place = chance.randrange(len(whole))
            broken = whole[:place] + b"\xc1" + whole[place + 1 :]
            payload = chance.choice([chance.randbytes(40), whole[:place], broken, b"", b"\xdd\xff\xff\xff\xff"])
            await broker.connection.send(f"ev.job.{entity}.output", payload)
            tried("msgpack from NATS, to a running edge")
        await broker.connection.flush()
        await alice.numbers(entity, 1, start=1000)
        seen: list[dict[str, Any]] = []
        while not seen or seen[-1]["data"].get("n") != 1000:
            seen += await socket.events(1)
            tried("msgpack from NATS, to a running edge", answer=json.dumps(seen[-1]))

    assert (await edge.http.get("/livez")).status_code == 200
    polled = await alice.poll(mine, "?limit=1000")
    assert [event["data"] for event in polled["events"]] == [event["data"] for event in seen]


@pytest.mark.parametrize("name", ["cursor", "since", "last", "limit", "wait", "conflate", "max_rate", "start"])
async def test_whatever_a_parameter_is_on_any_way_to_read(edge: SecuredEdge, name: str) -> None:
    alice = edge.as_("alice", read=["job.>"])
    mine = await alice.session(subjects=["job.>"])
    chance = random.Random(name)
    good = str(Cursor("5f3a9c1e", 3))
    values = [
        good[:-1],
        good + "0",
        good.swapcase(),
        "",
        "-1",
        "0",
        "1e9",
        "NaN",
        "inf",
        "\x00",
        "null",
        "%",
        "ä",
        "9" * 400,
    ]
    values += ["earliest\r\nX: y", "2026-13-45T99:99:99Z"]
    values += ["".join(chance.choices("0123456789abcdef-._~zZ \n\t*>", k=chance.randrange(40))) for _ in range(10)]
    for value in values:
        polled = await alice.http.get(f"/callbacks/sessions/{mine}/events", params={"wait": "0", name: value})
        tried("query of a poll", polled.status_code, polled.text)
        async with alice.http.stream("GET", f"/callbacks/sessions/{mine}/sse", params={name: value}) as stream:
            text = "" if stream.status_code == 200 else (await stream.aread()).decode()
            tried("query of a stream", stream.status_code, text)
            assert stream.status_code == 200 or json.loads(text)["code"] in TITLES

    async def idle() -> bool:
        return (await edge.as_("root", operate=True).http.get("/callbacks/stats")).status_code == 200

    await eventually(idle)
