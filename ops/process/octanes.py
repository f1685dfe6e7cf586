"""Reads which Octanes `callboard up` watches, where there are several: each is an actor of its own, in a process of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ops.settings import Mistakes, Settings

OCTANE = "octane"
ADDRESS = "CALLBOARD_OCTANE_ADDRESS"
# 16: each is a process, and one machine shows no more pictures than that.
MAX_OCTANES = 16

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PORT = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True)
class OctanePlace:
    """One Octane: the instance of the actor that watches it, and its address."""

    instance: str
    address: str

    @property
    def process(self) -> str:
        """The name of the actor's process; that of `main` is the one that there is without any setting."""
        return OCTANE if self.instance == "main" else f"{OCTANE}-{self.instance}"


def configured_octanes(settings: Settings) -> Mapping[str, OctanePlace]:
    """The Octanes that are set, by the names of their processes; empty where none are. Raises Mistakes, all at once."""
    mistakes: list[str] = []
    found: dict[str, OctanePlace] = {}
    for entry in settings.up.octanes:
        name, equals, address = entry.partition("=")
        host, _, port = address.rpartition(":")
        if (
            not equals
            or not _NAME.fullmatch(name)
            or not host
            or not _PORT.fullmatch(port)
            or not 0 < int(port) < 65536
        ):
            mistakes.append(f"CALLBOARD_OCTANES: {entry[:100]!r}: needs NAME=HOST:PORT, as in left=10.0.0.5:51022")
            continue
        place = OctanePlace(name, address)
        if place.process in found:
            mistakes.append(f"CALLBOARD_OCTANES: there are two Octanes of the name {name}")
        found[place.process] = place
    if len(found) > MAX_OCTANES:
        mistakes.append(f"CALLBOARD_OCTANES: at most {MAX_OCTANES} Octanes, not {len(found)}")
    if found and settings.was_set(ADDRESS):
        mistakes.append(f"CALLBOARD_OCTANES: {ADDRESS} is set, too; name that Octane here as main=HOST:PORT instead")
    if mistakes:
        raise Mistakes(mistakes)
    return found
