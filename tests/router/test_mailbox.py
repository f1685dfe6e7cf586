"""Tests of router/mailbox.py."""

from __future__ import annotations

import asyncio

import pytest

from router.mailbox import Mailbox, MailboxClosed, MailboxFull, WhenFull
from tests.waiting import in_time


async def test_messages_come_in_order_and_urgent_ones_first() -> None:
    mailbox: Mailbox[str] = Mailbox(4)
    for message in ("a", "b"):
        await mailbox.put(message)
    mailbox.offer_urgent("now")
    mailbox.close()

    assert [message async for message in mailbox] == ["now", "a", "b"]


async def test_a_full_mailbox_makes_its_sender_wait() -> None:
    mailbox: Mailbox[int] = Mailbox(1)
    await mailbox.put(1)
    sending = asyncio.ensure_future(mailbox.put(2))
    await asyncio.sleep(0)
    assert not sending.done()

    assert await anext(mailbox) == 1
    await sending

    assert await anext(mailbox) == 2


async def test_a_full_mailbox_refuses_where_it_is_told_to() -> None:
    mailbox: Mailbox[int] = Mailbox(1, WhenFull.REFUSE)
    await mailbox.put(1)

    with pytest.raises(MailboxFull):
        await mailbox.put(2)
    assert not mailbox.offer(2)
    assert len(mailbox) == 1


async def test_a_full_mailbox_drops_the_oldest_and_counts_it() -> None:
    mailbox: Mailbox[int] = Mailbox(2, WhenFull.DROP_OLDEST)
    for message in (1, 2, 3):
        await mailbox.put(message)
    mailbox.close()

    assert [message async for message in mailbox] == [2, 3]
    assert mailbox.dropped == 1


async def test_the_urgent_lane_is_bounded_too() -> None:
    mailbox: Mailbox[int] = Mailbox(1, urgent_capacity=2)

    assert [mailbox.offer_urgent(n) for n in range(3)] == [True, True, False]


async def test_a_closed_mailbox_is_worked_off_and_takes_nothing_in() -> None:
    mailbox: Mailbox[int] = Mailbox(2)
    await mailbox.put(1)
    mailbox.close()

    assert not mailbox.offer(2)
    assert not mailbox.offer_urgent(2)
    with pytest.raises(MailboxClosed):
        await mailbox.put(2)
    assert [message async for message in mailbox] == [1]


async def test_closing_wakes_a_waiting_taker_and_a_waiting_sender() -> None:
    empty: Mailbox[int] = Mailbox(1)
    full: Mailbox[int] = Mailbox(1)
    await full.put(1)
    taking, sending = asyncio.ensure_future(anext(empty, None)), asyncio.ensure_future(full.put(2))
    await asyncio.sleep(0)

    empty.close()
    full.close()

    assert await in_time(taking) is None
    with pytest.raises(MailboxClosed):
        await in_time(sending)


async def test_a_cancelled_taker_loses_no_message() -> None:
    mailbox: Mailbox[int] = Mailbox(1)
    taking = asyncio.ensure_future(anext(mailbox))
    await asyncio.sleep(0)

    mailbox.offer(1)
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)

    assert mailbox.drain() == [1]


async def test_every_message_of_many_blocked_senders_arrives_once() -> None:
    mailbox: Mailbox[int] = Mailbox(3)

    async with asyncio.TaskGroup() as group:
        for number in range(200):
            group.create_task(mailbox.put(number))
        taken = [await anext(mailbox) for _ in range(200)]

    assert sorted(taken) == list(range(200))


def test_a_mailbox_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Mailbox(0)
