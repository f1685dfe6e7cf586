"""Reads the environment of this process and makes that of a child: the only module that does either."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ops.values import TRUE

PREFIX = "CALLBOARD_"
NATS_URL = "CALLBOARD_NATS_URL"
DATA_DIR = "CALLBOARD_DATA_DIR"
DEFAULT_DATA_DIR = ".callboard"

# These tell a child process which descriptors it inherited; not for people to set.
LIFELINE = "CALLBOARD_LIFELINE"
SOCKET = "CALLBOARD_EDGE_SOCKET"
INTERNAL_SOCKET = "CALLBOARD_INTERNAL_SOCKET"
# Where a child reports that it is ready, and the nonce that it proves itself by: `7:3f0a…`.
READY = "CALLBOARD_READY"
INTERNAL_PORT = "CALLBOARD_INTERNAL_PORT"
# What Kubernetes puts into every pod for a service called callboard or callboard-edge; none of it is meant for us.
_SERVICE_LINK = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?$")


class RawValue(NamedTuple):
    """A setting's text as it was given, and where it comes from."""

    text: str
    source: str
    said: str  # what to name in an error: `--port`, or the variable


def variables() -> dict[str, RawValue]:
    """Lists the variables that are ours, without those that Kubernetes sets for a service of our name."""
    return {
        name: RawValue(text, "environment", name)
        for name, text in os.environ.items()
        if name.startswith(PREFIX) and not _SERVICE_LINK.search(name) and not re.match(r"(tcp|udp|sctp)://", text)
    }


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Makes the environment of a child process: ours, without the inherited descriptors, with `extra`."""
    inherited = {
        name: text for name, text in os.environ.items() if name not in (LIFELINE, SOCKET, INTERNAL_SOCKET, READY)
    }
    return {**inherited, "PYTHONUNBUFFERED": "1", **extra}


def inherited_descriptor(variable: str) -> int | None:
    """Reads the number of a descriptor that the process above us left open; None where there is none."""
    text = os.environ.get(variable, "").partition(":")[0]
    if not text.isdigit():
        return None
    try:
        os.fstat(int(text))
    except OSError:
        return None
    return int(text)


def inherited_descriptors(variable: str) -> list[int]:
    """Reads the numbers of descriptors that the process above us left open, such as `7,8`; those that are not open are left out."""
    found: list[int] = []
    for text in os.environ.get(variable, "").split(","):
        with contextlib.suppress(ValueError, OSError):
            os.fstat(number := int(text))
            found.append(number)
    return found


def under_make() -> bool:
    """Says whether make started us."""
    return "MAKELEVEL" in os.environ


def wants_traceback() -> bool:
    """Says whether errors are to be shown with their traceback; asked where the settings themselves may have failed."""
    return os.environ.get("CALLBOARD_DEBUG", "").lower() in TRUE


def search_path() -> str:
    """The PATH with the folder of this Python in front, so that tools installed beside it are found."""
    return os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))


def colour_wanted() -> bool:
    """Says whether the user takes colours on a terminal (NO_COLOR, TERM=dumb)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
