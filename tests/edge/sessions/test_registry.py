"""What a process knows of the sessions, where news, answers and conflicts meet in an unlucky order."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from edge.sessions.registry import Registry
from edge.sessions.spec import SessionSpec
from edge.view import View
from router.broker import Broker
from router.errors import Conflict
from router.nats.bucket import Bucket
from router.topology import SESSIONS
from tests.waiting import eventually, in_time


def spec() -> SessionSpec:
    return SessionSpec(
        id=f"sess_{secrets.token_hex(12)}", delivery_method="sse", created=time.time_ns(), start="", owner="o"
    )


class Interrupted(Bucket):
    """A bucket in which something happens between a write and its answer."""

    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def update(self, key: str, value: bytes, revision: int, ttl: float | None = None) -> int:
        written = await super().update(key, value, revision, ttl)
        if (meanwhile := self.meanwhile) is not None:
            self.meanwhile = None
            await meanwhile()
        return written


@asynccontextmanager
async def following(registry: Registry) -> AsyncIterator[Registry]:
    task = asyncio.ensure_future(registry.run())
    try:
        await in_time(registry.ready.wait())
        yield registry
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_session_that_is_changed_before_its_creation_is_answered_is_served_as_changed(broker: Broker):
    bucket = Interrupted(broker.connection, SESSIONS)
    made = spec()
    async with following(Registry(bucket)) as ours:
        other = Registry.over(broker.connection)

        async def change() -> None:
            await other.update(await other.find(made.id), replace(made, name="changed"))
            await eventually(lambda: ours.sessions[made.id].spec.name == "changed")

        bucket.meanwhile = change

        created = await ours.create(made)

        assert created.spec.name == "changed"
        assert ours.sessions[made.id].spec.name == "changed"
        await ours.delete(made.id)


async def test_a_session_that_is_deleted_before_its_creation_is_answered_does_not_come_back(broker: Broker):
    bucket = Interrupted(broker.connection, SESSIONS)
    made = spec()
    told: list[bool] = []
    async with following(Registry(bucket)) as ours:
        other = Registry.over(broker.connection)
        before = ours.owned("o")
        ours.on_change(lambda id, session: told.append(session is not None) if id == made.id else None)

        async def delete() -> None:
            await eventually(lambda: made.id in ours.sessions)
            await other.delete(made.id)
            await eventually(lambda: made.id not in ours.sessions)

        bucket.meanwhile = delete

        await ours.create(made)

        assert made.id not in ours.sessions and ours.owned("o") == before
        assert told == [True, False]


@pytest.mark.parametrize("early", [False, True], ids=["answer first", "watch first"])
async def test_a_session_is_announced_once_and_has_one_view_for_each_of_its_revisions(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, early: bool
):
    bucket = Interrupted(broker.connection, SESSIONS)
    made = spec()
    told: list[str | None] = []
    views: list[str] = []
    view_of = View.of

    def counted(session_id: str, *args: Any, **named: Any) -> View:
        views.append(session_id)
        return view_of(session_id, *args, **named)

    monkeypatch.setattr(View, "of", staticmethod(counted))
    async with following(Registry(bucket)) as ours:
        ours.on_change(lambda id, now: told.append(now.spec.name if now else "deleted") if id == made.id else None)

        async def heard(name: str | None) -> None:
            await eventually(lambda: made.id in ours.sessions and ours.sessions[made.id].spec.name == name)

        bucket.meanwhile = (lambda: heard(None)) if early else None
        session = await ours.create(made)
        bucket.meanwhile = (lambda: heard("changed")) if early else None
        await ours.update(session, replace(made, name="changed"))
        await ours.delete(made.id)
        # What is heard of this comes behind all that is heard of the other.
        last = await Registry.over(broker.connection).create(spec())
        await eventually(lambda: last.id in ours.sessions)

    assert told == [None, "changed", "deleted"]
    assert views.count(made.id) == 2


async def test_who_repeats_a_change_after_a_conflict_starts_from_what_is_stored(broker: Broker):
    ours, other = Registry.over(broker.connection), Registry.over(broker.connection)
    session = await ours.create(spec())
    # No watch runs here, so nothing is heard of this.
    await other.update(await other.find(session.id), replace(session.spec, name="theirs"))

    with pytest.raises(Conflict):
        await ours.update(session, replace(session.spec, name="ours"))

    now = await ours.find(session.id)
    assert now.spec.name == "theirs"
    changed = await ours.update(now, replace(now.spec, name="ours"))
    assert changed.spec.name == "ours"
    await other.delete(session.id)
    with pytest.raises(Conflict):
        await ours.update(changed, session.spec)
    assert session.id not in ours.sessions
