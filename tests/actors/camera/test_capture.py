from __future__ import annotations

import asyncio
import contextlib
import threading

import numpy as np
import pytest

from actors.camera.capture import CaptureThread
from actors.camera.sources.control import Control, ControlValue
from actors.camera.sources.source import BadPicture, Picture, SourceUnavailable
from tests.waiting import PATIENCE


class Scripted:
    """A source that notes who calls it, and hangs or fails on request."""

    kind = "scripted"
    simulated = True

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.calls: list[str] = []
        self.fault: Exception | None = None
        self.inside = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.closed = threading.Event()

    def open(self) -> None:
        self._note("open")

    def grab(self, seq: int) -> Picture:
        self._note(f"grab {seq}")
        return Picture(np.zeros((2, 3), dtype=np.uint8), 0.0)

    def close(self) -> None:
        self.calls.append("close")
        self.threads.append(threading.current_thread())
        self.closed.set()

    def _note(self, call: str) -> None:
        self.calls.append(call)
        self.threads.append(threading.current_thread())
        self.inside.set()
        assert self.go_on.wait(5 * PATIENCE)
        if self.fault is not None:
            raise self.fault


async def test_open_grab_and_close_run_in_one_thread_of_their_own() -> None:
    source = Scripted()
    thread = CaptureThread(source)

    await thread.open()
    picture, _ = await thread.grab(7)
    closed = await thread.close(5.0)

    assert closed
    assert source.calls == ["open", "grab 7", "close"]
    assert len(set(source.threads)) == 1
    assert source.threads[0] is not threading.main_thread()
    assert source.threads[0].daemon
    assert (picture.width, picture.height) == (3, 2)


@pytest.mark.parametrize(
    "fault", [BadPicture("torn"), SourceUnavailable("gone"), OSError(5, "io"), RuntimeError("sdk")]
)
async def test_what_the_source_raises_arrives_where_it_is_awaited_and_the_thread_lives(fault: Exception) -> None:
    source = Scripted()
    thread = CaptureThread(source)
    await thread.open()

    source.fault = fault
    with pytest.raises(type(fault)) as raised:
        await thread.grab(0)
    source.fault = None

    assert raised.value is fault
    assert (await thread.grab(1))[0].width == 3
    assert await thread.close(5.0)


async def test_a_source_that_does_not_open_is_closed_all_the_same() -> None:
    source = Scripted()
    source.fault = SourceUnavailable("gone")
    thread = CaptureThread(source)

    with pytest.raises(SourceUnavailable):
        await thread.open()
    await thread.close(5.0)

    assert source.calls == ["open", "close"]


async def left_in_hand(source: Scripted, thread: CaptureThread) -> None:
    """Begins a grab that hangs, and gives up waiting for it."""
    grabbing = asyncio.ensure_future(thread.grab(0))
    assert await asyncio.to_thread(source.inside.wait, PATIENCE)
    grabbing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await grabbing


async def test_a_hung_grab_is_left_behind_and_closes_its_source_when_it_comes_back() -> None:
    source = Scripted()
    thread = CaptureThread(source)
    await thread.open()
    source.inside.clear()
    source.go_on.clear()

    await left_in_hand(source, thread)
    closed = await thread.close(0.05)
    hung = thread.alive
    source.go_on.set()
    await asyncio.to_thread(source.closed.wait, PATIENCE)

    assert not closed
    assert hung
    assert source.calls == ["open", "grab 0", "close"]


async def test_calls_that_wait_behind_a_hung_one_are_dropped_when_the_thread_is_left() -> None:
    source = Scripted()
    thread = CaptureThread(source)
    await thread.open()
    source.inside.clear()
    source.go_on.clear()

    await left_in_hand(source, thread)
    for seq in range(1, 3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await thread.grab(seq)
    thread.leave()
    source.go_on.set()
    await asyncio.to_thread(source.closed.wait, PATIENCE)

    assert source.calls == ["open", "grab 0", "close"]


async def test_leaving_twice_is_leaving_once() -> None:
    source = Scripted()
    thread = CaptureThread(source)
    await thread.open()

    thread.leave()
    thread.leave()

    assert await thread.close(5.0)
    assert source.calls.count("close") == 1


class Adjustable(Scripted):
    """A scripted source with one control."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = 1.0

    def controls(self) -> list[Control]:
        self._note("controls")
        return [Control("gain", "number", self.gain, 0.0, 4.0)]

    def set_control(self, name: str, value: ControlValue) -> ControlValue:
        self._note(f"set {name}")
        assert isinstance(value, float)
        self.gain = round(value, 1)
        return self.gain


async def test_controls_are_read_and_set_in_the_thread_of_the_source() -> None:
    source = Adjustable()
    thread = CaptureThread(source)
    await thread.open()

    effective = await thread.set_control("gain", 1.26)
    controls = await thread.controls()
    await thread.close(5.0)

    assert effective == 1.3 == controls[0].value
    assert source.calls == ["open", "set gain", "controls", "close"]
    assert len(set(source.threads)) == 1


async def test_a_source_without_controls_has_none_and_takes_none() -> None:
    thread = CaptureThread(Scripted())
    await thread.open()

    assert await thread.controls() == []
    with pytest.raises(ValueError, match="has no controls"):
        await thread.set_control("gain", 1.0)
    await thread.close(5.0)
