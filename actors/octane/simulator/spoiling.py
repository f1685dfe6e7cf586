"""Spoils the pictures of a simulated Octane in the ways that its faults ask for."""

from __future__ import annotations

from actors.octane.simulator.faults import FaultBoard, OctaneFault
from protos import octane_types_pb2 as wire

SPOILING = (
    OctaneFault.SHORT,
    OctaneFault.SHARED_SURFACE,
    OctaneFault.COMPRESSED,
    OctaneFault.WIDE,
    OctaneFault.HUGE,
    OctaneFault.PENDING,
)
# 70000: a JPEG has at most 65535 columns.
_WIDE = 70_000


def spoil(image: wire.ApiRenderImage, faults: FaultBoard) -> wire.ApiRenderImage:
    """A picture as the faults that are on would have it; the one that was given stays as it is."""
    on = [fault for fault in SPOILING if fault in faults]
    if not on:
        return image
    spoilt = wire.ApiRenderImage()
    spoilt.CopyFrom(image)
    for fault in on:
        match fault:
            case OctaneFault.SHORT:
                _fill(spoilt, image.buffer.data[: len(image.buffer.data) // 4])
            case OctaneFault.SHARED_SURFACE:
                spoilt.ClearField("size")
                spoilt.ClearField("buffer")
                spoilt.pitch = 0
                spoilt.sharedSurface.handle, spoilt.sharedSurface.type = 1000100, wire.ObjectRef.ApiSharedSurface
            case OctaneFault.COMPRESSED:
                spoilt.type = wire.IMAGE_TYPE_BC1_UNORM
                _fill(spoilt, bytes(-(-image.size.x // 4) * -(-image.size.y // 4) * 8))
            case OctaneFault.WIDE:
                spoilt.type, spoilt.pitch = wire.IMAGE_TYPE_LDR_RGBA, _WIDE
                spoilt.size.x, spoilt.size.y = _WIDE, 2
                _fill(spoilt, b"\x40\x80\xc0\xff" * _WIDE * 2)
            case OctaneFault.HUGE:
                spoilt.type, spoilt.pitch = wire.IMAGE_TYPE_LDR_RGBA, 16384
                spoilt.size.x = spoilt.size.y = 16384
                _fill(spoilt, image.buffer.data[:64])
            case OctaneFault.PENDING:
                spoilt.hasPendingUpdates = True
    return spoilt


def before_last_change(image: wire.ApiRenderImage) -> wire.ApiRenderImage:
    """A picture of the change level before, as one that was tonemapped late."""
    late = wire.ApiRenderImage()
    late.CopyFrom(image)
    late.changeLevel.value = max(image.changeLevel.value, 1) - 1
    late.tonemappedSamplesPerPixel = late.calculatedSamplesPerPixel = image.maxSamplesPerPixel
    return late


def _fill(image: wire.ApiRenderImage, data: bytes) -> None:
    image.buffer.data, image.buffer.size = data, len(data)
