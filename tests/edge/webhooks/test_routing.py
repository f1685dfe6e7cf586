"""Events find their webhook sessions by an index: no session is asked, and a change of one leaves the others alone."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.edge.asked import Asked
from tests.edge.webhooks.stage import Receiver, Stage
from tests.waiting import eventually


async def test_the_fan_out_asks_no_session_about_an_event_that_is_new_to_it(
    stage: Stage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await stage.process()
    for number in range(20):
        await stage.session(receiver.url, subjects=[f"job.n{number}.>"])
    await eventually(lambda: len(process.webhooks.fanout._newest[0].members.joined) == 20)
    asked = Asked(monkeypatch)

    for number in range(20):
        await stage.publish(f"job.n{number}.kind_{number}")

    await eventually(lambda: len(receiver.posts) == 20)
    assert asked.times == 0


async def test_a_change_of_one_session_leaves_what_is_known_of_the_others(stage: Stage, receiver: Receiver) -> None:
    process = await stage.process()
    first, second = [await stage.session(receiver.url, subjects=[f"job.{name}.>"]) for name in ("one", "two")]
    joined = process.webhooks.fanout._newest[0].members.joined
    await eventually(lambda: len(joined) == 2)
    await stage.publish("job.one.done")
    await eventually(lambda: len(receiver.posts) == 1)
    known = joined.find("job.one.done", "done")

    changed = replace(second.spec, subjects=["job.other.>"])
    await process.registry.update(await process.registry.find(second.id), changed)
    await stage.publish("job.other.done")
    await eventually(lambda: len(receiver.posts) == 2)
    await process.registry.delete(second.id)
    await eventually(lambda: len(joined) == 1)

    assert joined.find("job.one.done", "done") is known
    await process.registry.update(
        await process.registry.find(first.id), replace(first.spec, subjects=["job.moved.>"], webhook=first.spec.webhook)
    )
    await stage.publish("job.one.done")
    await stage.publish("job.moved.done")
    await eventually(lambda: len(receiver.posts) == 3)
    assert b"job.moved.done" in receiver.posts[-1].body
