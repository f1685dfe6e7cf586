"""How events of an Octane are published while NATS is away."""

from __future__ import annotations

from typing import Any

import pytest

from actors.octane.announcing import tell, until_done
from actors.system.actor import Actor
from actors.system.context import Context
from actors.system.probe import Probe
from router.errors import BrokerError, Refused, Timeout
from router.event import Event


class Announcer(Actor):
    """Hands its context to the test."""

    name = "announcer"
    subjects = ()

    async def start(self, ctx: Context) -> None:
        self.ctx = ctx


class LossyProbe(Probe):
    """Publishes only after some tries have failed; keeps the ids of all tries."""

    def __init__(self, *faults: BrokerError) -> None:
        super().__init__(Announcer)
        self.faults, self.tried = list(faults), list[str]()

    async def publish(self, event: Event, payload: bytes, *args: Any, **options: Any) -> None:
        self.tried.append(event.id)
        if self.faults:
            raise self.faults.pop(0)
        await super().publish(event, payload, *args, **options)

    @property
    def ctx(self) -> Context:
        assert isinstance(self.actor, Announcer)
        return self.actor.ctx


async def test_an_event_is_published_until_it_is_stored_and_each_try_has_its_id():
    beats: list[None] = []
    async with LossyProbe(Timeout(), Timeout()) as probe:
        await tell(probe.ctx, lambda: beats.append(None), "state", {"status": "absent"}, key="main")

        assert len(probe.tried) == len(beats) == 3 and len(set(probe.tried)) == 1
        assert probe.emitted == [("octane.main.state", {"status": "absent"})]


async def test_an_event_that_is_refused_for_good_is_not_tried_again():
    async with LossyProbe(Refused(404, 10059, "stream not found")) as probe:
        with pytest.raises(Refused):
            await tell(probe.ctx, lambda: None, "state", {"status": "absent"})

        assert len(probe.tried) == 1


async def test_what_nats_does_not_take_now_is_done_later_and_what_it_refuses_never():
    answers: list[Any] = [Timeout(), "done", Refused(403, 0, "no"), "never"]

    async def act() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, BrokerError):
            raise answer
        return answer

    async with LossyProbe() as probe:
        assert await until_done(probe.ctx, act) == "done"
        assert await until_done(probe.ctx, act) is None
    assert answers == ["never"]
