"""Answers about commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

# The commands of an Octane, as its actor declares them; a test compares the two.
OCTANE_COMMANDS = Path(__file__).with_name("octane_commands.json")


class ListedCommand(msgspec.Struct):
    """One command of one actor: give it at `POST /commands/{actor}/{instance}/{name}`."""

    actor: str
    instance: str
    name: str
    about: str
    schema: Annotated[
        dict[str, Any] | None,
        Meta(description="The JSON Schema of the body, an object of arguments; null where the actor tells none."),
    ] = None


class CommandsAnswer(msgspec.Struct):
    """The commands of the actors that serve now, by address."""

    commands: Annotated[list[ListedCommand], Meta(examples=[msgspec.json.decode(OCTANE_COMMANDS.read_bytes())])]
