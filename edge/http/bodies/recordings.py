"""Queries and answers of recordings."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edge.http.bodies.events import Text


class RecordingsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which recordings."""

    camera: Annotated[Text | None, Meta(description="Only those of this camera.")] = None
    since: Annotated[
        Annotated[datetime, Meta(tz=True)] | None, Meta(description="Only what lasted beyond this time (RFC 3339).")
    ] = None
    until: Annotated[
        Annotated[datetime, Meta(tz=True)] | None, Meta(description="Only what began before this time (RFC 3339).")
    ] = None
    kind: Annotated[Literal["video", "stills"] | None, Meta(description="Only those of this kind.")] = None
    limit: Annotated[int, Meta(ge=1, le=5000, description="At most so many, the newest.")] = 1000


class RecordingQuery(msgspec.Struct, frozen=True, kw_only=True):
    """How a browser that can send no Authorization is let in."""

    ticket: Annotated[str | None, Meta(description="From `POST /tickets`, where no Authorization can be sent.")] = None


class RecordingAnswer(msgspec.Struct, kw_only=True):
    """One file, with the figures of now."""

    id: str
    camera: str
    kind: Literal["video", "stills"]
    status: Annotated[
        Literal["recording", "finished", "interrupted", "failed"],
        Meta(description="`interrupted`: its camera's process ended; what it had stored is there."),
    ]
    reason: str | None
    session: Annotated[str, Meta(description="The same for all files that one command began.")]
    label: str | None
    started_by: Annotated[str | None, Meta(description="Who began it: a user, or a rule as `rule <name>`.")]
    continuous: Annotated[bool, Meta(description="Whether it was recorded because the camera records always.")]
    overwritable: Annotated[
        bool, Meta(description="Whether it is deleted where the store has no room for a newer one.")
    ]
    began: Annotated[str, Meta(description="When its first picture was captured (RFC 3339).")]
    ended: Annotated[str, Meta(description="When the last picture that is stored was over (RFC 3339).")]
    until: Annotated[str | None, Meta(description="When recording is to end; null where nobody said (RFC 3339).")]
    duration: Annotated[float, Meta(description="In seconds, of what is stored.")]
    frames: int
    bytes: int
    lost: Annotated[int, Meta(description="Pictures that could not be stored.")]
    every: Annotated[float | None, Meta(description="Of stills: their interval in seconds.")]
    width: int | None
    height: int | None
    codec: str | None
    source: str | None
    simulated: bool
    url: Annotated[
        str | None, Meta(description="Where the file is; of stills, with `{n}` for a number from 1 to `frames`.")
    ]


class RecordingsAnswer(msgspec.Struct, kw_only=True):
    """The recordings that the principal may read, in the order in which they began."""

    recordings: list[RecordingAnswer]
    total: Annotated[int, Meta(description="How many there are, of which the newest `limit` are listed.")]
    bytes_used: Annotated[int, Meta(description="What all recordings hold.")]
    bytes_limit: Annotated[int | None, Meta(description="What they may hold; null without a limit.")]
