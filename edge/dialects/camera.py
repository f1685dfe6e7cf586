"""The dialect of CompuCyto's camera page, `/ws/camera/stream`: text messages `connected` and `frame`, pictures as base64 in JSON.

What its document says: the server confirms a connection, and then sends JSON with a JPEG in base64, which the page shows by
`<img :src="'data:image/jpeg;base64,' + …">`; its test page counts frames, bytes, frames a second and latency. It does not
name the fields. These are ours, as plausible clients of that text read them:

- `connected`: `message`, `resolution` {width, height} and the same as `width` and `height`, `fps`, `quality`, `camera`, `simulated`.
- `frame`: `data`, the JPEG in base64 without a prefix (or under the name that `?field=` says), `width`, `height`, `timestamp`
  in ms since 1970 of the capture clock, `frame_number`, `fps`, `quality`, `size` in bytes, `simulated`.
- `error` where the camera has failed or is gone, `status` where it is there again; both with `message`, `status` and `reason`.

Messages of the client need no answer. One that acknowledges frames as in `/cameras/{id}/ws` is paced by that.
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final

from router.codec import to_json

FIELDS: Final = ("data", "image", "frame")
# Of a camera's status, what its page shows as an error.
_FAULTS: Final = frozenset({"failed", "gone"})


def connected(camera: str, about: Mapping[str, Any]) -> bytes:
    """The confirmation. `about` is the header of a picture or the data of the camera's state; a size that is not known is 0."""
    width, height = (_number(about.get(name)) for name in ("width", "height"))
    return to_json(
        {
            "type": "connected",
            "message": f"connected to camera {camera}",
            "camera": camera,
            "resolution": {"width": width, "height": height},
            "width": width,
            "height": height,
            "fps": _number(about.get("fps")),
            "quality": _number(about.get("quality")),
            "format": "jpeg",
            "source": about.get("source"),
            "simulated": about.get("simulated") is True,
            "timestamp": _now(),
        }
    )


def frame(camera: str, header: Mapping[str, Any], jpeg: bytes | memoryview, field: str = "data") -> bytes:
    """One picture, from the header of its frame."""
    said = {
        "type": "frame",
        "camera": camera,
        "format": "jpeg",
        "width": header.get("width"),
        "height": header.get("height"),
        "timestamp": round(_number(header.get("time"))),
        "frame_number": header.get("seq"),
        "seq": header.get("seq"),
        "life": header.get("life"),
        "fps": header.get("fps"),
        "quality": header.get("quality"),
        "size": len(jpeg),
        "simulated": header.get("simulated") is True,
    }
    # Base64 needs no escaping, and a JSON encoder would look through all of it.
    return b"".join((to_json(said)[:-1], b',"', field.encode(), b'":"', b64encode(jpeg), b'"}'))


def condition(camera: str, status: str, reason: str | None) -> bytes:
    """What has become of the camera."""
    message = f"camera {camera} is {status}" + (f": {reason}" if reason else "")
    kind = "error" if status in _FAULTS else "status"
    return to_json(
        {"type": kind, "message": message, "camera": camera, "status": status, "reason": reason, "timestamp": _now()}
    )


def _number(value: object) -> int | float:
    return value if isinstance(value, (int, float)) else 0


def _now() -> int:
    return time.time_ns() // 1_000_000
