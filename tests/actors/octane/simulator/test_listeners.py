"""Tests of actors/octane/simulator/listeners.py: one registration of each kind, and who is told what."""

from __future__ import annotations

import asyncio

from actors.octane.simulator.listeners import CallbackSlot, Listener, Registration, SimulatedKind, StreamEnd

IMAGE = SimulatedKind.NEW_IMAGE


async def test_an_event_waits_once_for_a_slow_listener() -> None:
    listener = Listener()
    for kind in (IMAGE, SimulatedKind.NEW_STATISTICS, IMAGE):
        listener.tell(kind)

    heard = [await listener.next(), await listener.next()]

    assert heard == [IMAGE, SimulatedKind.NEW_STATISTICS]
    waiting = asyncio.ensure_future(listener.next())
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


async def test_only_the_newest_registrant_is_told_and_only_the_losers_stream_ends() -> None:
    slot = CallbackSlot()
    with slot.listening("a") as first, slot.listening("b") as second, slot.listening("c") as third:
        slot.take(IMAGE, Registration("a", 1, 1))
        slot.take(IMAGE, Registration("b", 2, 1))
        slot.tell(IMAGE)

        assert await first.next() is None and first.end is StreamEnd.LOST_SLOT
        assert await second.next() is IMAGE
        slot.tell(SimulatedKind.PROJECT_CHANGED, unasked=True)
        assert await third.next() is SimulatedKind.PROJECT_CHANGED and third.end is None
    assert not slot.listeners


async def test_who_registers_again_keeps_its_stream() -> None:
    slot = CallbackSlot()
    with slot.listening("a") as listener:
        for user_data in (1, 2):
            slot.take(IMAGE, Registration("a", user_data, 1))
        slot.tell(IMAGE)

        assert await listener.next() is IMAGE and slot.registrations[IMAGE].user_data == 2


def test_anybodys_unregistering_clears_the_slot() -> None:
    slot = CallbackSlot()
    slot.take(IMAGE, Registration("a", 1, 1))

    slot.give_back(IMAGE)
    slot.give_back(IMAGE)

    assert slot.registrations == {}
