"""The callback stream and who is called back, against the simulator and servers that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from actors.octane import callbacks
from actors.octane.callbacks import (
    USER_DATA,
    CallbackKind,
    CallbackNotice,
    CallbackRegistration,
    CallbackStream,
    read_notice,
)
from actors.octane.client import ClientSettings, OctaneClient
from actors.octane.errors import Disconnected
from actors.octane.observations import (
    STREAM,
    Observation,
    PictureOversized,
    ServiceRefused,
    SlotAsked,
    StreamEnded,
    StreamHeld,
)
from actors.octane.simulator.simulator import OctaneGeneration
from actors.octane.simulator.simulator import SimulatedKind as Told
from protos import octane_stream_pb2 as stream
from protos import octane_stream_pb2_grpc as stream_rpc
from tests.actors.octane.simulation import LONG, QUICK, serving, simulated
from tests.waiting import eventually

ALL = {Told.NEW_IMAGE, Told.NEW_STATISTICS, Told.RENDER_FAILURE}


def unseen(_: Observation) -> None:
    """An observer for tests that look elsewhere."""


async def at_once(_: float) -> None:
    """A sleep that takes no time."""
    await asyncio.sleep(0)


async def test_the_stream_is_opened_again_when_its_time_is_up():
    settings = ClientSettings(stream_lifetime=0.4)
    seen: list[Observation] = []
    async with simulated(LONG) as octane, OctaneClient(octane.address, settings) as client:
        await CallbackRegistration(client, unseen).ask()
        opened = images = 0
        async with aclosing(CallbackStream(client, seen.append).notices()) as notices:
            async for notice in notices:
                opened += notice.kind is CallbackKind.OPENED
                images += notice.kind is CallbackKind.NEW_IMAGE
                if opened >= 3 and images >= 5:
                    break

        assert octane.streams_opened >= 2
        assert set(seen) == {StreamHeld()}
        await eventually(lambda: not octane.listeners)


async def test_a_stream_that_says_nothing_is_held_after_a_moment():
    seen: list[Observation] = []
    async with (
        simulated(LONG) as octane,
        OctaneClient(octane.address) as client,
        aclosing(CallbackStream(client, seen.append).notices()) as notices,
    ):
        await anext(notices)
        waiting = asyncio.ensure_future(anext(notices))

        await eventually(lambda: seen == [StreamHeld()])
        waiting.cancel()
        await asyncio.wait({waiting})


async def test_leaving_takes_the_registrations_back():
    seen: list[Observation] = []
    async with simulated(LONG) as octane, OctaneClient(octane.address) as client:
        slot = CallbackRegistration(client, seen.append)
        await slot.ask()
        assert set(octane.registered) == ALL and set(octane.registered.values()) == {USER_DATA}

        await slot.leave()

        assert octane.registered == {}
        assert seen == [SlotAsked(held=True)]


@pytest.mark.parametrize("how", ["the stream ended", "another is called"])
async def test_leaving_takes_away_nobody_elses_registrations(how):
    async with simulated(LONG) as octane, OctaneClient(octane.address) as client, OctaneClient(octane.address) as other:
        slot = CallbackRegistration(client, unseen)
        await slot.ask()
        for kind in CallbackRegistration.KINDS:
            await other.engine(
                f"setOn{kind}Callback", callback={"callbackSource": "other", "callbackId": 1}, userData=7
            )

        if how == "the stream ended":
            slot.lost()
        else:
            slot.told(CallbackNotice(CallbackKind.NEW_IMAGE, user_data=7))
        await slot.leave()

        assert octane.registered == dict.fromkeys(ALL, 7)


async def test_without_images_only_that_callback_is_given_back():
    async with simulated(LONG) as octane, OctaneClient(octane.address) as client:
        slot = CallbackRegistration(client, unseen)
        await slot.ask()

        await slot.ask(images=False)

        assert set(octane.registered) == ALL - {Told.NEW_IMAGE}


class Ending(stream_rpc.StreamCallbackServiceServicer):
    """A stream that ends before it has begun, in a way of the test's choosing."""

    def __init__(self, code: grpc.StatusCode | None, text: str = "") -> None:
        self.code, self.text, self.opened = code, text, 0

    async def callbackChannel(self, request: Empty, context: Any) -> AsyncIterator[Any]:
        self.opened += 1
        if self.code is not None:
            await context.abort(self.code, self.text)
        return
        yield


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.FAILED_PRECONDITION,
    ],
)
async def test_a_stream_that_is_refused_is_observed_with_the_servers_words_and_tried_again_ever_later(code):
    server, seen, pauses = Ending(code, "no callbacks here"), list[Observation](), list[float]()

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await at_once(seconds)

    only = (stream_rpc.add_StreamCallbackServiceServicer_to_server, server)
    async with (
        serving(only) as address,
        OctaneClient(address) as client,
        aclosing(CallbackStream(client, seen.append, pause).notices()) as notices,
    ):
        for _ in range(9):
            assert (await anext(notices)).kind is CallbackKind.OPENED

    assert ServiceRefused(STREAM, f"{code.name.lower()}: no callbacks here") in seen
    assert StreamHeld() not in seen
    assert pauses[0] >= 1 and pauses == sorted(pauses) and pauses[-1] == 30


@pytest.mark.parametrize("code", [None, grpc.StatusCode.DEADLINE_EXCEEDED])
async def test_a_stream_that_ends_at_once_is_no_reason_to_spin(code):
    server, seen, pauses = Ending(code), list[Observation](), list[float]()

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await at_once(seconds)

    only = (stream_rpc.add_StreamCallbackServiceServicer_to_server, server)
    async with (
        serving(only) as address,
        OctaneClient(address) as client,
        aclosing(CallbackStream(client, seen.append, pause).notices()) as notices,
    ):
        for _ in range(6):
            await anext(notices)

    assert seen[:3] == [StreamEnded(taken=code is None)] * 3
    assert any(isinstance(each, ServiceRefused) for each in seen)
    assert pauses[:4] == [0.5, 1, 2, 4]


class Taken(stream_rpc.StreamCallbackServiceServicer):
    """A stream that brings one event and ends: somebody else registers again and again."""

    async def callbackChannel(self, request: Empty, context: Any) -> AsyncIterator[Any]:
        yield stream.StreamCallbackRequest(newImage={})


async def test_a_stream_that_is_taken_away_again_and_again_is_not_refused():
    seen, pauses = list[Observation](), list[float]()

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await at_once(seconds)

    only = (stream_rpc.add_StreamCallbackServiceServicer_to_server, Taken())
    async with (
        serving(only) as address,
        OctaneClient(address) as client,
        aclosing(CallbackStream(client, seen.append, pause).notices()) as notices,
    ):
        opened = 0
        while opened < 9:
            opened += (await anext(notices)).kind is CallbackKind.OPENED

    assert not any(isinstance(each, ServiceRefused) for each in seen)
    assert seen.count(StreamEnded()) == 8 and max(pauses) == 8


class RefusedAtFirst(stream_rpc.StreamCallbackServiceServicer):
    """Streams of which so many are refused; the next stays open."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals

    async def callbackChannel(self, request: Empty, context: Any) -> AsyncIterator[Any]:
        self.refusals -= 1
        if self.refusals >= 0:
            await context.abort(grpc.StatusCode.UNKNOWN, "not now")
        await asyncio.Event().wait()
        yield


@pytest.mark.parametrize(("refusals", "soon"), [(1, True), (2, False)])
async def test_after_one_refusal_a_moment_is_enough_and_after_refusals_in_a_row_it_is_not(refusals, soon, monkeypatch):
    # A refusal takes a moment on a busy machine, too: it must not be taken for a stream that stands.
    monkeypatch.setattr(callbacks, "HELD_AFTER", 1.0)
    monkeypatch.setattr(callbacks, "LASTING", 3600.0 if soon else 3.0)
    seen = list[Observation]()
    only = (stream_rpc.add_StreamCallbackServiceServicer_to_server, RefusedAtFirst(refusals))
    async with (
        serving(only) as address,
        OctaneClient(address) as client,
        aclosing(CallbackStream(client, seen.append, at_once).notices()) as notices,
    ):
        for _ in range(refusals + 1):
            await anext(notices)
        loop = asyncio.get_running_loop()
        begun, waiting = loop.time(), asyncio.ensure_future(anext(notices))
        await eventually(lambda: StreamHeld() in seen)

        # The one limit is never reached, or the other is waited for.
        assert soon or loop.time() - begun > 2.0
        waiting.cancel()
        await asyncio.wait({waiting})


async def test_an_image_larger_than_a_message_is_said_to_be_too_large():
    server, seen = Ending(grpc.StatusCode.RESOURCE_EXHAUSTED, "Sent message larger than max"), list[Observation]()
    only = (stream_rpc.add_StreamCallbackServiceServicer_to_server, server)
    async with (
        serving(only) as address,
        OctaneClient(address) as client,
        aclosing(CallbackStream(client, seen.append, at_once).notices()) as notices,
    ):
        await anext(notices)
        await anext(notices)

    assert [type(each) for each in seen] == [StreamEnded, PictureOversized]


async def test_a_server_that_dies_ends_the_stream():
    async with simulated(LONG) as octane:
        client = OctaneClient(octane.address)
        await client.__aenter__()
        notices = CallbackStream(client, unseen).notices()
        await anext(notices)
        await eventually(lambda: octane.listeners)

    # The end of the stream may be seen before the end of the connection; it is opened once more then.
    with pytest.raises(Disconnected):
        async for _ in notices:
            pass
    await client.__aexit__(None, None, None)


@pytest.mark.parametrize(
    ("payload", "kind", "images", "user_data"),
    [
        ("5200", CallbackKind.NEW_IMAGE, 0, 0),
        ("52020807", CallbackKind.NEW_IMAGE, 0, 7),
        ("5a00", CallbackKind.RENDER_FAILURE, 0, 0),
        ("6200", CallbackKind.NEW_STATISTICS, 0, 0),
        ("6a00", CallbackKind.PROJECT_CHANGED, 0, 0),
        ("52240a04677270631003180722180a162a040802100130023a0c0a0800010203040506071008", CallbackKind.NEW_IMAGE, 1, 7),
    ],
)
def test_events_of_both_generations_are_read(payload, kind, images, user_data):
    notice = read_notice(bytes.fromhex(payload))

    assert notice is not None and (notice.kind, len(notice.images), notice.user_data) == (kind, images, user_data)


@pytest.mark.parametrize("payload", [b"", b"\xff\xff\xff", bytes.fromhex("7200")])
def test_what_is_no_event_is_passed_over(payload):
    assert read_notice(payload) is None


async def test_alpha_5_brings_its_images_along():
    older = replace(QUICK, generation=OctaneGeneration.ALPHA_5)
    async with simulated(older) as octane, OctaneClient(octane.address) as client:
        await CallbackRegistration(client, unseen).ask()
        async with aclosing(CallbackStream(client, unseen).notices()) as notices:
            async for notice in notices:
                if notice.images:
                    break

    assert notice.images[0].size.x == QUICK.width
    assert notice.user_data == USER_DATA
