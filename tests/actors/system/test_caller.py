"""Who calls a command."""

from __future__ import annotations

from actors.system.actor import Actor, command
from actors.system.caller import caller, calling
from actors.system.probe import Probe


class Asked(Actor):
    """Says who asks."""

    name = "asked"

    @command
    async def who(self) -> str | None:
        """Says who asks."""
        return caller()


async def test_a_command_knows_its_caller_and_no_other_one() -> None:
    async with Probe(Asked) as asked:
        assert await asked.ask("who") is None
        asked.caller = "ann"
        assert await asked.ask("who") == "ann"
        asked.caller = None
        assert await asked.ask("who") is None


def test_a_caller_is_known_only_inside_its_call() -> None:
    with calling("ann"):
        assert caller() == "ann"
    assert caller() is None
