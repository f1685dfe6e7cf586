"""The sweeper ends what is overdue, runs short tasks while it runs itself, and shares heartbeats."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.dialects.callback import CALLBACK
from edge.settings import FastPathSettings
from edge.transports.encoders import SseEncoder
from edge.transports.fast import sweeper as module
from edge.transports.fast.sweeper import Sweeper
from edge.types import Notice
from tests.clocks import set_clock
from tests.waiting import eventually, in_time


class Connection:
    """A connection that the test moves; it says for how often it is still owed something after a deadline."""

    def __init__(self, lives: int = 0, position: int = 0) -> None:
        self.waiting = 100
        self.position = position
        self.lives = lives
        self.looks: list[int] = []

    def overdue(self, before: int) -> int | None:
        self.looks.append(before)
        self.waiting -= 10
        self.lives -= 1
        return self.waiting if self.lives >= 0 else None

    def heartbeat(self, control: str) -> Notice:
        return Notice(control, {"position": self.position})


async def running(sweeper: Sweeper, stopped: list[str]) -> None:
    await sweeper.run(lambda: stopped.append("stopped"))


async def test_an_overdue_connection_is_asked_until_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.001)
    sweeper, stopped = Sweeper(), list[str]()
    draining, spared = Connection(lives=2), Connection()
    sweeper.set_deadline(draining, 0.0)
    sweeper.set_deadline(spared, 0.0)
    sweeper.lift_deadline(spared)
    later = Connection()
    sweeper.set_deadline(later, 3600.0)

    task = asyncio.ensure_future(running(sweeper, stopped))
    await eventually(lambda: len(draining.looks) == 3)
    await eventually(lambda: list(sweeper.with_deadline) == [later])
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    # It is told each time how much was waiting at the last look.
    assert draining.looks == [100, 90, 80]
    assert spared.looks == later.looks == []
    assert stopped == ["stopped"]


async def test_short_tasks_run_while_it_runs_and_are_not_begun_afterwards() -> None:
    sweeper, done = Sweeper(), asyncio.Event()

    async def work() -> None:
        done.set()

    assert sweeper.start(work()) is None
    task = asyncio.ensure_future(running(sweeper, []))
    await asyncio.sleep(0)
    assert sweeper.start(work()) is not None
    await in_time(done.wait())
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert sweeper.start(work()) is None


async def test_it_is_empty_once_the_last_connection_is_lost() -> None:
    sweeper, connections = Sweeper(), [Connection(), Connection()]
    await in_time(sweeper.emptied())
    for each in connections:
        sweeper.opened()
        sweeper.set_deadline(each, 0.0)
    waiting = asyncio.ensure_future(sweeper.emptied())

    sweeper.lost(connections[0])
    await asyncio.sleep(0)
    assert not waiting.done()
    sweeper.lost(connections[1])

    await in_time(waiting)
    assert list(sweeper.with_deadline) == []


def test_connections_at_one_place_share_the_bytes_of_a_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.time, "monotonic", lambda: 1000.0)
    sweeper = Sweeper(FastPathSettings())
    encoder = SseEncoder(CALLBACK)

    first = sweeper.heartbeat(encoder, "position", 7, Connection(position=7))
    same = sweeper.heartbeat(encoder, "position", 7, Connection(position=7))
    other = sweeper.heartbeat(encoder, "position", 8, Connection(position=8))

    assert first is same and b'"position":7' in first
    assert other is not first and b'"position":8' in other


@given(now=st.integers(0, 10**8), place=st.integers(0, 17), rarely=st.booleans())
def test_a_ping_is_due_within_the_interval_at_the_same_time_for_all_of_a_phase(
    now: int, place: int, rarely: bool
) -> None:
    sweeper, interval = Sweeper(FastPathSettings(ping=20.0)), 600.0 if rarely else 20.0

    def due_at(seconds: float) -> float:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module.time, "monotonic", lambda: seconds)
            return sweeper.next_ping(place / 18, rarely)

    seconds = now / 100 + 0.001
    due = due_at(seconds)

    assert seconds < due <= seconds + interval
    assert due_at((seconds + due) / 2) == due
    # Those of the next slice are due a part of the interval later.
    assert (due / interval - place / 18) == pytest.approx(round(due / interval - place / 18), abs=1e-6)


def test_connections_that_are_opened_together_share_a_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = set_clock(monkeypatch, "edge.transports.fast.sweeper", standing=True)
    sweeper, made = Sweeper(), list[str]()

    def ready(session: str) -> bytes:
        def make() -> bytes:
            made.append(session)
            return f"{session} {len(made)}".encode()

        return sweeper.ready((session,), make)

    assert [ready("a"), ready("a"), ready("b"), ready("a")] == [b"a 1", b"a 1", b"b 2", b"a 1"]
    clock.advance(0.011)
    assert [ready("a"), ready("b"), ready("a")] == [b"a 3", b"b 4", b"a 3"]
