"""Tests of edge/webhooks/endpoint/store.py: the owner of an endpoint writes its state, everybody reads it."""

from __future__ import annotations

import secrets

import pytest

from edge.webhooks.endpoint.state import EndpointState
from edge.webhooks.endpoint.store import EndpointStore
from router.errors import Conflict
from router.nats.bucket import Entry
from tests.edge.webhooks.stage import Stage


async def test_a_state_that_is_read_after_a_conflict_is_the_one_to_write_over(stage: Stage):
    broker = stage.broker
    ours, other = EndpointStore(broker.connection), EndpointStore(broker.connection)
    session = f"sess_{secrets.token_hex(12)}"
    announced: list[str] = []
    ours.on_change(lambda _, state: announced.append(state.reason))
    await ours.keep(session, EndpointState(reason="first"))
    await other.change(session, lambda _: EndpointState(reason="theirs"))
    # As after a restore of the bucket from a backup: what is known is newer than what is stored.
    ours._known.put(session, EndpointState(reason="of before the restore"), 1 << 40)

    with pytest.raises(Conflict):
        await ours.keep(session, EndpointState(reason="ours"))

    assert ours.of(session) == EndpointState(reason="theirs") and announced == ["theirs"]
    await ours.keep(session, EndpointState(reason="ours"))
    await ours.forget(session)
    ours._on_entry(Entry(f"health.{session}", b'{"reason": "late"}', 1), True)
    assert ours.of(session) is None
