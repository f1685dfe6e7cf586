"""Tests of router/sdk/recovery.py against a real nats-server."""

from __future__ import annotations

from pathlib import Path

from router.broker import Broker
from router.sdk.connect import sender_to
from router.sdk.encoder import RunEncoder
from router.sdk.queued import Kind
from router.sdk.recovery import deliver
from router.sdk.spool import SpoolFile, new_header
from tests.router.sdk.runs import events_of


async def test_what_is_stored_already_is_not_delivered_again(broker: Broker, entity: str, tmp_path: Path) -> None:
    """Also after JetStream has forgotten the ids: here they are others."""
    encoder = RunEncoder("agent", entity, "sdk")
    items = [encoder.encode(1, "workflow_start", {"incarnation": encoder.incarnation}, kind=Kind.START)[1]]
    items += [encoder.encode(n, "noted", {"n": n})[1] for n in range(2, 6)]
    items.append(
        encoder.encode(6, "completion", {"success": True, "incarnation": encoder.incarnation}, kind=Kind.END)[1]
    )
    sender = sender_to(broker, encoder.life, 10.0, None)
    await sender.send(items[:1], lambda: items[0])
    await sender.send(items[1:3], lambda: items[0])
    file = SpoolFile.create(tmp_path, new_header(encoder.life, sender.url))
    file.append([item._replace(dedup=f"{item.dedup}-forgotten") if item.number < 4 else item for item in items])

    told = await deliver(file, sender)

    assert (told.refused, told.ended, told.away, told.over) == (0, True, None, None)
    assert [event.data.get("n") for event in await events_of(broker, entity)] == [None, 2, 3, 4, 5, None]
    file.remove()
