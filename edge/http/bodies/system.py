"""Queries and answers of state, commands, pictures and probes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

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


class RungQuery(msgspec.Struct, frozen=True):
    """Which rung of a camera's H.264."""

    height: Annotated[
        Literal[240, 480, 720] | None, Meta(description="Pixels; that of the source where it is left out.")
    ] = None
    ticket: Annotated[str | None, Meta(description="From `POST /tickets`, where no Authorization can be sent.")] = None
    token: Annotated[
        str | None, Meta(description="A token, where the server is configured to take it from addresses.")
    ] = None


PictureHeight = Annotated[int, Meta(ge=1, le=16384)]
PictureRate = Annotated[float, Meta(ge=0.1, le=240)]


class CameraMjpegQuery(msgspec.Struct, frozen=True, kw_only=True):
    """How a camera's pictures are wished."""

    height: Annotated[
        PictureHeight | None, Meta(description="Height in pixels; the nearest rung of the ladder is sent.")
    ] = None
    fps: Annotated[PictureRate | None, Meta(description="The most pictures a second; JPEG alone.")] = None
    track: Annotated[str | None, Meta(description="A rung by its name, such as `jpeg-480`, instead of `height`.")] = (
        None
    )
    ticket: Annotated[str | None, Meta(description="From `POST /tickets`, where no Authorization can be sent.")] = None


class CameraSocketQuery(CameraMjpegQuery, frozen=True, kw_only=True):
    """How a camera's pictures are wished over WebSocket. The message `prefer` changes it."""

    format: Annotated[
        Literal["auto", "jpeg", "h264", "mp4"],
        Meta(description="`h264` is Annex B, `mp4` the same in fragments for Media Source Extensions; `auto` is JPEG."),
    ] = "auto"


PassName = Annotated[str, Meta(max_length=64)]
PixelWidth = Annotated[int, Meta(ge=1, le=100_000)]


class OctanePictureQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which pictures of an Octane, over what, and how wide."""

    pass_: Annotated[
        PassName | None,
        Meta(description="Which render pass, as `passes` of the statistics names it; `beauty` without."),
    ] = msgspec.field(default=None, name="pass")
    track: Annotated[PassName | None, Meta(description="Another name of `pass`.")] = None
    width: Annotated[
        PixelWidth | None,
        Meta(
            description="The least width in pixels that will do: the next power of two from 64 to 4096, or the full width."
        ),
    ] = None
    background: Annotated[
        Literal["black", "white", "checker"] | None,
        Meta(description="What is seen through the picture. Formats with alpha keep it where this is left out."),
    ] = None
    ticket: Annotated[str | None, Meta(description="From `POST /tickets`, where no Authorization can be sent.")] = None


class OctaneMjpegQuery(OctanePictureQuery, frozen=True, kw_only=True):
    """Which pictures of an Octane, as MJPEG."""

    format: Literal["jpeg"] = "jpeg"


class OctaneSocketQuery(OctanePictureQuery, frozen=True, kw_only=True):
    """Which pictures of an Octane, in a form that is quick enough for a stream."""

    format: Literal["jpeg", "png", "webp"] = "jpeg"


class OctaneSnapshotQuery(OctanePictureQuery, frozen=True, kw_only=True):
    """Which picture of an Octane, and in which form."""

    format: Annotated[
        Literal["jpeg", "png", "png16", "webp", "exr"],
        Meta(description="`png16` has 16 bits a channel, `exr` linear light in floats; `webp` is lossless."),
    ] = "jpeg"


class SampleAnswer(msgspec.Struct):
    """Events a second over the ten seconds before a moment, and how it stood then."""

    time: Annotated[float, Meta(description="Seconds since the epoch.")]
    stored: Annotated[float, Meta(description="Events stored a second.")]
    delivered: Annotated[
        dict[str, float], Meta(description="Events delivered a second: websocket, sse, polling, webhook.")
    ]
    failed: Annotated[float, Meta(description="Attempts at webhooks that failed, a second.")]
    readers: Annotated[dict[str, int], Meta(description="Open connections by transport.")]
    lag: Annotated[int, Meta(description="Events that the slowest reader was behind.")]


class ThroughputAnswer(msgspec.Struct):
    """The last hour, over all replicas, and what is kept."""

    every: Annotated[float, Meta(description="Seconds between two samples.")]
    samples: Annotated[list[SampleAnswer], Meta(description="Oldest first.")]
    stored: Annotated[dict[str, Any], Meta(description="Events kept, their bytes, and the first and last cursor.")]


class LivezAnswer(msgspec.Struct):
    """That the process lives, and which version it is."""

    status: str
    version: str


class ReadyzAnswer(msgspec.Struct):
    """Whether the process can serve, check by check."""

    status: str
    checks: dict[str, bool]
    store: Annotated[dict[str, Any], Meta(description="The streams that take no writes: code and text of each.")]
    shortages: Annotated[
        dict[str, Any], Meta(description="What the process lacked for webhooks in the last ten minutes.")
    ]
