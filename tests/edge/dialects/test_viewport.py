"""The bytes of octaneWebR's callbacks: the events of an Octane, and its pictures as text and as binary messages."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from edge.dialects.folding import Folding
from edge.dialects.viewport import CALLBACKS, VIEWPORT, image_bytes, image_text, render_pass_id, say, statistics_of
from edge.transports.folding_encoders import FoldingTextEncoder
from edge.types import Batch, Notice
from tests.edge.dialects.folds import EPOCH, records_of

STATISTICS = {
    "state": "rendering",
    "samples": 120,
    "max_samples": 5000,
    "denoised_samples": 100,
    "progress": 0.024,
    "samples_per_second": 12500000.5,
    "render_time": 3.25,
    "estimated_render_time": 61.5,
    "width": 1280,
    "height": 720,
    "change_level": 18446744073709551615,
    "wipes": 2,
    "simulated": True,
}
HEADER = {
    "seq": 7,
    "time": 1700000000123.9,
    "width": 2,
    "height": 1,
    "format": "jpeg",
    "source": "octane",
    "simulated": False,
    "track": "beauty",
    "samples": 120,
    "max_samples": 5000,
    "render_time": 3.25,
    "change_level": 12,
}


def told(*events: tuple[str, dict[str, Any]], enums: str = "names") -> list[str]:
    records = records_of(*events, subject="octane.main")
    return FoldingTextEncoder(Folding(VIEWPORT, {"enums": enums})).encode(Batch(records, EPOCH))


def test_statistics_have_the_bytes_of_the_protos_with_names_and_long_numbers_as_texts() -> None:
    assert told(("statistics", STATISTICS)) == [
        '{"type":"newStatistics","data":{"statistics":{"beautySamplesPerPixel":120,"beautyMaxSamplesPerPixel":5000,'
        '"beautySamplesPerSecond":12500000.5,"denoisedSamplesPerPixel":100,"beautyWipeCount":2,"renderTime":3.25,'
        '"estimatedRenderTime":61.5,"usedSize":{"x":1280,"y":720},"changeLevel":{"value":"18446744073709551615"},'
        '"state":"RSTATE_RENDERING"},"user_data":"0","timestamp":1700000001123},"timestamp":1700000001123}'
    ]


@pytest.mark.parametrize(
    ("state", "name", "number"),
    [
        ("stopped", "RSTATE_STOPPED", 0),
        ("waiting", "RSTATE_WAITING_FOR_DATA", 1),
        ("rendering", "RSTATE_RENDERING", 2),
        ("paused", "RSTATE_PAUSED", 3),
        ("finished", "RSTATE_FINISHED", 4),
        ("7", 7, 7),
        ("²", "²", "²"),
        ("9" * 5000, "9" * 5000, "9" * 5000),
    ],
)
def test_a_state_is_a_name_or_for_clients_that_compare_numbers_a_number(
    state: str, name: str | int, number: str | int
) -> None:
    assert statistics_of({"state": state}, "names") == {"state": name}
    assert statistics_of({"state": state}, "numbers") == {"state": number}


def test_passes_are_those_that_can_be_watched_and_what_is_unknown_is_left_out() -> None:
    passes = ["beauty", "z_depth", "pass-501"]

    assert statistics_of({"passes": passes, "samples": None}, "names") == {
        "renderPasses": {"data": ["RENDER_PASS_BEAUTY", "RENDER_PASS_Z_DEPTH", 501]},
        "passesCount": 3,
    }
    assert render_pass_id("pass-x") == "RENDER_PASS_PASS-X"


def test_a_failure_says_what_the_devices_said_and_a_project_its_path() -> None:
    devices = [{"name": "GPU 0", "error": "kernel_failed", "message": "out of memory"}]

    said = told(
        ("state", {"status": "connected"}),
        ("render_failure", {"reason": "GPU 0: out of memory", "devices": devices, "simulated": True}),
        ("project_changed", {"project": "C:/scenes/room.orbx"}),
    )

    assert said == [
        '{"type":"renderFailure","data":{"reason":"GPU 0: out of memory","devices":[{"name":"GPU 0","error":"kernel_failed",'
        '"message":"out of memory"}],"simulated":true,"user_data":"0","timestamp":1700000002123},"timestamp":1700000002123}',
        '{"type":"projectManagerChanged","data":{"project":"C:/scenes/room.orbx","user_data":"0","timestamp":1700000003123},'
        '"timestamp":1700000003123}',
    ]
    assert set(CALLBACKS) == {"statistics", "render_failure", "project_changed"}


@pytest.mark.parametrize("control", ["ready", "gap", "bye", "heartbeat", "position", "error"])
def test_nothing_is_said_of_the_connection_itself(control: str) -> None:
    encoder = FoldingTextEncoder(Folding(VIEWPORT, {}))

    assert encoder.notice(Notice(control, {"reason": "x", "cursor": "1-a"})) == []
    assert not VIEWPORT.notices(None, control, {})


def test_a_picture_as_text_has_the_fields_of_a_render_image_around_its_bytes() -> None:
    before, behind = image_text(HEADER, 2, 1, "base64")

    assert (before + b'"AAECAwQFBgc="' + behind).decode() == (
        '{"type":"newImage","data":{"callback_source":"callboard","callback_id":1,"user_data":"0","render_images":{"data":['
        '{"type":"IMAGE_TYPE_LDR_RGBA","colorSpace":"NAMED_COLOR_SPACE_SRGB","isLinear":false,"sharedSurface":null,'
        '"size":{"x":2,"y":1},"pitch":2,"buffer":{"data":"AAECAwQFBgc=","size":8,"encoding":"base64"},'
        '"renderPassId":"RENDER_PASS_BEAUTY","tonemappedSamplesPerPixel":120,"renderTime":3.25,"maxSamplesPerPixel":5000,'
        '"changeLevel":{"value":"12"}}]}},"timestamp":1700000000123}'
    )


def test_a_picture_as_text_is_cut_at_its_pixels_whatever_its_source_calls_itself() -> None:
    before, behind = image_text({**HEADER, "track": '"pixels"', "source": "pixels"}, 2, 1, None)

    said = json.loads(before + b"0" + behind)

    (image,) = said["data"]["render_images"]["data"]
    assert image["buffer"] == {"data": 0, "size": 8}


def test_a_binary_picture_is_a_length_a_header_and_the_bytes() -> None:
    header = (
        b'{"type":"newImage","width":2,"height":1,"format":"IMAGE_TYPE_LDR_RGBA","pitch":2,"tonemappedSamplesPerPixel":120,'
        b'"renderTime":3.25,"pixelSize":8,"sharedSurface":null,"source":"octane","renderPassId":"RENDER_PASS_BEAUTY",'
        b'"changeLevel":{"value":"12"},"timestamp":1700000000123}'
    )

    assert image_bytes(HEADER, 2, 1, bytes(range(8))) == struct.pack("<I", len(header)) + header + bytes(range(8))


def test_an_answer_has_the_time_in_milliseconds() -> None:
    said = json.loads(say("pong"))

    assert said["type"] == "pong" and 1.7e12 < said["timestamp"] < 1e14
