"""A wait with a limit."""

from __future__ import annotations

import asyncio

import pytest

from actors.octane.waiting import within


async def test_a_wait_ends_with_what_it_waits_for_or_with_its_time():
    event = asyncio.Event()

    await within(0.01, event.wait())
    assert not event.is_set()
    event.set()
    await within(3600.0, event.wait())


async def test_what_fails_fails_through_it():
    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await within(1.0, fail())
