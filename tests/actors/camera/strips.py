"""Reads what a camera has sent to a Probe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import av

from actors.camera.sources.simulated import read_strip
from actors.system.probe import Probe


def of(camera: Probe, token: str) -> list[tuple[Mapping[str, Any], bytes]]:
    """The pictures of one rung, with their headers."""
    return [(header, body) for _, header, body in camera.frames if header["rung"] == token]


def strips(packets: list[bytes]) -> list[int]:
    """The numbers that are burnt into the pictures of an H.264 stream."""
    decoder = av.CodecContext.create("h264", "r")
    frames = [frame for packet in packets for frame in decoder.decode(av.Packet(packet))]
    return [strip[0] for frame in frames if (strip := read_strip(frame.to_ndarray(format="rgb24")))]
