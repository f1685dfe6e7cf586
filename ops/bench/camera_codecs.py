"""Compares the bytes of H.264 and JPEG on a film at equal quality: structural similarity (SSIM) of the luma to the film's own pictures.

The film is given with `--clip`; it should be a real one, since a drawn picture says little about either codec. H.264 is encoded
as the actor does. JPEG is encoded at several qualities, and the bytes at the SSIM of H.264 are read off between two of them.
SSIM: Wang, Bovik, Sheikh, Simoncelli, "Image Quality Assessment: From Error Visibility to Structural Similarity" (2004), over
windows of 8 x 8 with the paper's constants.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import time
from collections.abc import AsyncIterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from actors.camera.encode import encode_jpeg
from ops.bench.report import ReportRow
from ops.bench.stand import BenchError, Plan

MAX_PICTURES = 120
QUALITIES = (30, 40, 50, 60, 70, 80, 85, 90, 95)
# Every so many pictures are compared.
STRIDE = 6
_WINDOW = 8
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

Plane = NDArray[np.float64]


async def run(plan: Plan) -> AsyncIterator[ReportRow]:
    """The comparison, where there is a film."""
    if plan.clip is None:
        yield ReportRow("codecs", "H.264 against JPEG at equal SSIM", note="left out: give a film with --clip FILE")
        return
    for row in await asyncio.to_thread(compare, plan.clip):
        yield row


def compare(clip: Path) -> list[ReportRow]:
    """All rows of one film. Raises BenchError."""
    frames = _frames(clip)
    pixels = [frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False) for frame in frames]
    luma = {place: _luma(frames[place]) for place in range(STRIDE, len(frames), STRIDE)}
    size, similar, cpu = _h264(frames, luma)
    points = [_jpeg(pixels, luma, quality) for quality in QUALITIES]
    alike = float(np.interp(similar, [point[1] for point in points], [point[0] for point in points]))
    name = f"{clip.name} {frames[0].width} x {frames[0].height}"
    note = "" if points[0][1] <= similar <= points[-1][1] else "beyond the qualities that were tried"
    return [
        ReportRow("codecs", f"{name}, H.264 superfast crf 21", "kB/picture", [size / 1000], note=f"SSIM {similar:.4f}"),
        ReportRow("codecs", f"{name}, JPEG at that SSIM", "kB/picture", [alike / 1000], note=note),
        ReportRow("codecs", f"{name}, H.264 of JPEG's bytes", "%", [100 * size / alike]),
        ReportRow("codecs", f"{name}, H.264, CPU per picture", "ms", [1000 * cpu]),
    ]


def _frames(clip: Path) -> list[av.VideoFrame]:
    try:
        with av.open(str(clip)) as container:
            decoded = itertools.islice(container.decode(video=0), MAX_PICTURES)
            frames = [frame.reformat(format="yuv420p") for frame in decoded]
    except (av.FFmpegError, OSError, IndexError) as fault:
        raise BenchError(f"{clip.name} is not a film that can be read: {fault}") from None
    if len(frames) <= STRIDE:
        raise BenchError(f"{clip.name} has only {len(frames)} pictures")
    return frames


def _h264(frames: list[av.VideoFrame], luma: dict[int, Plane]) -> tuple[float, float, float]:
    """Bytes a picture, SSIM, and CPU seconds a picture."""
    first = frames[0]
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = first.width, first.height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 30), Fraction(30)
    encoder.max_b_frames, encoder.thread_count = 0, 1
    encoder.options = {"preset": "superfast", "tune": "zerolatency", "crf": "21", "g": "60"}
    began, packets = time.process_time(), []
    for number, frame in enumerate(frames):
        frame.pts, frame.time_base, frame.pict_type = number, encoder.time_base, av.video.frame.PictureType.NONE
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    cpu = time.process_time() - began
    decoder = av.CodecContext.create("h264", "r")
    decoded = [frame for packet in packets for frame in decoder.decode(packet)] + list(decoder.decode(None))
    alike = [ssim(luma[place], _luma(decoded[place])) for place in luma if place < len(decoded)]
    return sum(packet.size for packet in packets) / len(frames), float(np.mean(alike)), cpu / len(frames)


def _jpeg(pixels: list[NDArray[np.uint8]], luma: dict[int, Plane], quality: int) -> tuple[float, float]:
    """Bytes a picture and SSIM."""
    size = sum(len(encode_jpeg(picture, quality)) for picture in pixels) / len(pixels)
    alike = []
    for place, expected in luma.items():
        with Image.open(io.BytesIO(encode_jpeg(pixels[place], quality))) as picture:
            alike.append(ssim(expected, _limited(np.asarray(picture.convert("YCbCr"))[:, :, 0].astype(np.float64))))
    return size, float(np.mean(alike))


def _luma(frame: av.VideoFrame) -> Plane:
    """The luma of a picture of 16 to 235, as films have it."""
    shown: Plane = frame.to_ndarray(format="yuv420p")[: frame.height].astype(np.float64)
    return shown


def _limited(full: Plane) -> Plane:
    """Luma of 0 to 255, as JPEG has it, in the range that films have."""
    return 16.0 + full * (219.0 / 255.0)


def ssim(one: Plane, other: Plane) -> float:
    """Structural similarity of two planes of the same size: 1 where they are the same."""
    means = _box(one), _box(other)
    variances = _box(one * one) - means[0] ** 2, _box(other * other) - means[1] ** 2
    covariance = _box(one * other) - means[0] * means[1]
    above = (2 * means[0] * means[1] + _C1) * (2 * covariance + _C2)
    below = (means[0] ** 2 + means[1] ** 2 + _C1) * (variances[0] + variances[1] + _C2)
    return float(np.mean(above / below))


def _box(plane: Plane) -> Plane:
    """The mean of each window."""
    sums = np.pad(np.cumsum(np.cumsum(plane, 0), 1), ((1, 0), (1, 0)))
    k = _WINDOW
    box: Plane = (sums[k:, k:] - sums[:-k, k:] - sums[k:, :-k] + sums[:-k, :-k]) / (k * k)
    return box
