"""A clock that jumps: what an edge decides while its machine's clock is an hour ahead does not outlast that hour."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.edge.webhooks.observing import PATIENT, state
from tests.edge.webhooks.stage import Receiver, Stage
from tests.waiting import eventually


@pytest.fixture
def jump(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Puts the wall clock of this process forward by so many seconds; the monotonic one goes on as it was."""
    real, real_ns, ahead = time.time, time.time_ns, 0.0

    def to(seconds: float) -> None:
        nonlocal ahead
        ahead = seconds

    monkeypatch.setattr(time, "time", lambda: real() + ahead)
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + int(ahead * 1e9))
    return to


@pytest.mark.parametrize("mode", ["unordered", "fifo"])
@pytest.mark.parametrize("answer", [500, pytest.param(503, marks=pytest.mark.slow)])
async def test_what_failed_while_the_clock_was_ahead_is_delivered_once_it_is_right_again(
    stage: Stage, receiver: Receiver, jump: Callable[[float], None], mode: str, answer: int
) -> None:
    process = await stage.process(PATIENT)
    session = await stage.session(receiver.url, retry_attempts=50, mode=mode)
    receiver.answer = answer
    jump(3600.0)
    await stage.publish("agent.run-1.progress", 30)
    await eventually(lambda: len(receiver.posts) >= 6, 30)
    if answer == 500:
        await eventually(lambda: state(process, session) == "open", 30)

    jump(0.0)
    receiver.answer = 200

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 30, 60)
    assert process.webhooks.stats(session.id).failed == 0


async def test_nothing_expires_because_the_clock_was_ahead(
    stage: Stage, receiver: Receiver, jump: Callable[[float], None]
) -> None:
    process = await stage.process(PATIENT)
    session = await stage.session(receiver.url, retry_attempts=50, max_age=600.0)
    receiver.answer = 500
    await stage.publish("agent.run-1.progress", 10)
    await eventually(lambda: len(receiver.posts) >= 3, 30)
    tried = len(receiver.posts)

    jump(3600.0)
    await eventually(lambda: len(receiver.posts) >= tried + 3, 30)
    receiver.answer = 200

    await eventually(lambda: process.webhooks.stats(session.id).delivered == 10, 60)
    assert process.webhooks.stats(session.id).failed == 0
