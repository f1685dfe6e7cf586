"""The messages of CompuCyto's camera page: what its document promises, and what a plausible reader of it looks for."""

from __future__ import annotations

import base64
import json

import pytest

from edge.dialects.camera import FIELDS, condition, connected, frame

HEADER = {
    "seq": 7, "life": 3, "time": 1_700_000_000_123.4, "width": 64, "height": 48, "fps": 29.7, "quality": 85, "simulated": True,
    "source": "card", "rung": "jpeg",
}  # fmt: skip
JPEG = bytes(range(256))


def test_a_connection_is_confirmed_with_the_resolution() -> None:
    said = json.loads(connected("main", HEADER))

    assert (said["type"], said["resolution"]) == ("connected", {"width": 64, "height": 48})
    assert (said["width"], said["height"], said["fps"], said["quality"], said["simulated"]) == (64, 48, 29.7, 85, True)
    assert said["message"] == "connected to camera main"


def test_a_size_that_is_not_known_is_zero() -> None:
    assert json.loads(connected("main", {"width": None}))["resolution"] == {"width": 0, "height": 0}


@pytest.mark.parametrize("field", FIELDS)
def test_a_frame_has_the_jpeg_in_base64_and_what_a_test_page_counts(field: str) -> None:
    said = json.loads(frame("main", HEADER, memoryview(JPEG), field))

    assert base64.b64decode(said[field]) == JPEG
    assert (said["type"], said["timestamp"], said["frame_number"], said["size"]) == ("frame", 1_700_000_000_123, 7, 256)
    assert (said["width"], said["height"], said["fps"], said["simulated"]) == (64, 48, 29.7, True)


@pytest.mark.parametrize(("status", "kind"), [("gone", "error"), ("failed", "error"), ("streaming", "status")])
def test_a_camera_that_cannot_be_seen_is_an_error(status: str, kind: str) -> None:
    said = json.loads(condition("main", status, "unplugged"))

    assert (said["type"], said["status"], said["message"]) == (kind, status, f"camera main is {status}: unplugged")
