"""How a command's calls reach an Octane, and what it says where they do not."""

from __future__ import annotations

import asyncio

import pytest

from actors.octane.client import OctaneClient
from actors.octane.errors import CallUnanswered, Declined, Disconnected
from actors.octane.link import OctaneLink, Unavailable
from actors.system.actor import Reject


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        (Declined("unimplemented: unknown method"), Unavailable, "not available on this Octane"),
        (Declined("failed_precondition: no render target"), Reject, "octane refused: .*no render target"),
        (Disconnected("socket closed"), Reject, "did not answer: socket closed"),
        (CallUnanswered("deadline"), Reject, "busy"),
    ],
)
async def test_what_goes_wrong_is_a_refusal_with_the_reason(fault, kind, said):
    with pytest.raises(kind, match=said):
        async with OctaneLink("somewhere:1").patiently():
            raise fault


async def test_what_takes_too_long_is_a_refusal_that_says_so():
    with pytest.raises(Reject, match=r"somewhere:1 is busy: .*0.01 s.*compiling"):
        async with OctaneLink("somewhere:1").patiently(0.01):
            await asyncio.Event().wait()


async def test_commands_pass_only_while_there_is_an_octane_and_no_obstacle():
    link = OctaneLink("somewhere:1")
    with pytest.raises(Reject, match="no octane answers at somewhere:1"):
        link.reach()

    async with OctaneClient("somewhere:1") as client:
        link.connected(client, lambda: None)
        assert link.reach() is client
        link.obstacle = "it is busy"
        with pytest.raises(Reject, match="takes no commands now: it is busy"):
            link.reach()
        link.gone("it went away")
        with pytest.raises(Reject, match="somewhere:1: it went away"):
            link.reach()
