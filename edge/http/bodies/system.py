"""Queries and answers of state, commands, pictures and probes."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta


class CamerasAnswer(msgspec.Struct):
    """The cameras, each with its latest state."""

    cameras: list[dict[str, Any]]


class OctanesAnswer(msgspec.Struct):
    """The Octane renders, each with its latest state."""

    octanes: list[dict[str, Any]]


class CommandQuery(msgspec.Struct, frozen=True):
    """How long a command waits for its answer."""

    timeout: Annotated[
        float,
        Meta(ge=0.1, le=30, description="Seconds. A command that is not answered in time may still be carried out."),
    ] = 5.0


class PictureQuery(msgspec.Struct, frozen=True):
    """Which pictures of a source."""

    track: Annotated[str | None, Meta(description="Which track, of a source that has several.")] = None
    ticket: Annotated[str | None, Meta(description="From `POST /tickets`, where no Authorization can be sent.")] = None


class LivezAnswer(msgspec.Struct):
    """That the process lives."""

    status: str


class ReadyzAnswer(msgspec.Struct):
    """Whether the process can serve, check by check."""

    status: str
    checks: dict[str, bool]
    store: Annotated[dict[str, Any], Meta(description="The streams that take no writes: code and text of each.")]
    shortages: Annotated[
        dict[str, Any], Meta(description="What the process lacked for webhooks in the last ten minutes.")
    ]
