"""The dialect of octaneWebR's browser client: objects with `type`, `data` and `timestamp` (ms) for each callback of an Octane.

`newStatistics`, `renderFailure` and `projectManagerChanged` are made of events, `newImage` of pictures. Fields have the names of
Octane's protos; enums are names, as that client's own server sends them, or with `enums=numbers` numbers; 64-bit numbers are texts.
What Callboard does not know of a field is left out.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from edge.dialects.dialect import Body, DialectPart, FoldedDialect
from router.codec import to_json
from router.event import Event
from router.frame import pack
from router.record import Record

# Of the registration that each client has: its own, and it has given no data of its own.
CALLBACK_ID = 1
USER_DATA = "0"
CALLBACK = {"callback_source": "callboard", "callback_id": CALLBACK_ID, "user_data": USER_DATA}

NAMES: Final = "names"
NUMBERS: Final = "numbers"

_STATES: Mapping[str, tuple[str, int]] = {
    "stopped": ("RSTATE_STOPPED", 0),
    "waiting": ("RSTATE_WAITING_FOR_DATA", 1),
    "rendering": ("RSTATE_RENDERING", 2),
    "paused": ("RSTATE_PAUSED", 3),
    "finished": ("RSTATE_FINISHED", 4),
}
# Fields of our statistics, and what the protos call them.
_FIELDS: Mapping[str, str] = {
    "samples": "beautySamplesPerPixel",
    "max_samples": "beautyMaxSamplesPerPixel",
    "samples_per_second": "beautySamplesPerSecond",
    "denoised_samples": "denoisedSamplesPerPixel",
    "region_samples": "regionSamplesPerPixel",
    "wipes": "beautyWipeCount",
    "render_time": "renderTime",
    "estimated_render_time": "estimatedRenderTime",
}
_NUMBER = re.compile(r"[0-9]{1,10}\Z")
_UNNAMED_PASS = re.compile(r"pass-(\d{1,10})\Z")


def say(kind: str, **said: Any) -> bytes:
    """A message to the client, with the time."""
    return to_json({"type": kind, **said, "timestamp": time.time_ns() // 1_000_000})


def render_pass_id(track: str) -> str | int:
    """The render pass of a track as the protos name it; a number for one without a name."""
    unnamed = _UNNAMED_PASS.match(track)
    return int(unnamed[1]) if unnamed else f"RENDER_PASS_{track.upper()}"


# Events


def statistics_of(data: Mapping[str, Any], enums: str) -> dict[str, Any]:
    """The fields of RenderResultStatistics that the statistics of an Octane have."""
    said = {name: data[ours] for ours, name in _FIELDS.items() if data.get(ours) is not None}
    if isinstance(data.get("width"), int) and isinstance(data.get("height"), int):
        said["usedSize"] = {"x": data["width"], "y": data["height"]}
    if data.get("change_level") is not None:
        said["changeLevel"] = {"value": str(data["change_level"])}
    if isinstance(passes := data.get("passes"), Sequence) and not isinstance(passes, str):
        said["renderPasses"] = {"data": [render_pass_id(str(each)) for each in passes]}
        said["passesCount"] = len(passes)
    if (state := data.get("state")) is not None:
        name, number = _STATES.get(str(state), (str(state), -1))
        # A state that is newer than this table comes as a number.
        known = enums == NUMBERS and number >= 0
        said["state"] = number if known else int(name) if _NUMBER.match(name) else name
    return said


def _statistics(event: Event, enums: str) -> dict[str, Any]:
    return {"statistics": statistics_of(event.data, enums)}


def _failure(event: Event, _enums: str) -> dict[str, Any]:
    """The callback itself says nothing of the reason; what was learnt of it from the devices is added."""
    return {name: event.data[name] for name in ("reason", "devices", "simulated") if name in event.data}


def _project(event: Event, _enums: str) -> dict[str, Any]:
    return {name: event.data[name] for name in ("project",) if name in event.data}


# The types of events that are shown: their callback, and what its data are.
CALLBACKS: Mapping[str, tuple[str, Callable[[Event, str], dict[str, Any]]]] = {
    "statistics": ("newStatistics", _statistics),
    "render_failure": ("renderFailure", _failure),
    "project_changed": ("projectManagerChanged", _project),
}


def _begin(parameters: Mapping[str, str]) -> str:
    return NUMBERS if parameters.get("enums") == NUMBERS else NAMES


def _step(enums: str, record: Record, _epoch: str) -> tuple[str, Sequence[DialectPart]]:
    event = record.event
    assert event is not None
    if event.type not in CALLBACKS:
        return enums, ()
    kind, data_of = CALLBACKS[event.type]
    when = event.time // 1_000_000
    data = {**data_of(event, enums), "user_data": USER_DATA, "timestamp": when}
    return enums, (DialectPart(to_json({"type": kind, "data": data, "timestamp": when})),)


def _notices(_state: object, _control: str, _body: Body) -> Sequence[DialectPart]:
    return ()


def _messages(_state: object, _control: str, _body: Body) -> Sequence[bytes]:
    """Nothing: its client takes what it does not know for a fault. The close code says why a connection ends."""
    return ()


VIEWPORT = FoldedDialect(name="viewport", notices=_notices, messages=_messages, begin=_begin, step=_step)


# Pictures

_MARK = "pixels"


def image_text(header: Mapping[str, Any], width: int, height: int, encoding: str | None) -> tuple[bytes, bytes]:
    """What stands before and behind the JSON of a picture's RGBA bytes in the text message `newImage`.

    `header` is that of the picture's frame; `encoding` is named beside the bytes where it is given.
    """
    image = {
        "type": "IMAGE_TYPE_LDR_RGBA",
        "colorSpace": "NAMED_COLOR_SPACE_SRGB",
        "isLinear": False,
        "sharedSurface": None,
        "size": {"x": width, "y": height},
        "pitch": width,
        "buffer": {"data": _MARK, "size": width * height * 4, **({"encoding": encoding} if encoding else {})},
        "renderPassId": render_pass_id(str(header.get("track", "beauty"))),
        **_progress(header),
        "maxSamplesPerPixel": header.get("max_samples", 0),
        "changeLevel": {"value": str(header.get("change_level", 0))},
    }
    said = {"type": "newImage", "data": {**CALLBACK, "render_images": {"data": [image]}}, "timestamp": _time(header)}
    before, behind = to_json(said).split(to_json(_MARK), 1)
    return before, behind


def image_bytes(header: Mapping[str, Any], width: int, height: int, pixels: bytes) -> bytes:
    """The binary message `newImage`: `[uint32 LE length of the header][JSON header][RGBA bytes]`."""
    said = {
        "type": "newImage",
        "width": width,
        "height": height,
        "format": "IMAGE_TYPE_LDR_RGBA",
        "pitch": width,
        **_progress(header),
        "pixelSize": len(pixels),
        "sharedSurface": None,
        "source": header.get("source", ""),
        "renderPassId": render_pass_id(str(header.get("track", "beauty"))),
        "changeLevel": {"value": str(header.get("change_level", 0))},
        "timestamp": _time(header),
    }
    return pack(said, pixels)


def _progress(header: Mapping[str, Any]) -> dict[str, Any]:
    return {"tonemappedSamplesPerPixel": header.get("samples", 0), "renderTime": header.get("render_time", 0)}


def _time(header: Mapping[str, Any]) -> int:
    said = header.get("time")
    return int(said) if isinstance(said, (int, float)) else 0


__all__ = [
    "CALLBACKS", "CALLBACK_ID", "NAMES", "NUMBERS", "VIEWPORT", "image_bytes", "image_text", "render_pass_id", "say",
    "statistics_of",
]  # fmt: skip
