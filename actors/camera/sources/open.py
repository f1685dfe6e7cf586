"""Makes the camera source that an address names. Each kind loads its own libraries, and only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from actors.camera.sources.address import SourceAddress, SourceSettings
from actors.camera.sources.source import CameraSource, SourceUnavailable

Factory = Callable[[SourceAddress, SourceSettings], CameraSource]


def open_source(address: SourceAddress, settings: SourceSettings) -> CameraSource:
    """Gives the source that an address names; opens nothing. Raises SourceUnavailable where this machine has none such."""
    if address.kind not in FACTORIES:
        raise SourceUnavailable(f"a source of the kind {address.kind} cannot be opened here")
    return FACTORIES[address.kind](address, settings)


def _card(address: SourceAddress, settings: SourceSettings) -> CameraSource:
    from actors.camera.sources.simulated import SimulatedSource

    return SimulatedSource(*(address.size or (settings.width, settings.height)))


def _film(address: SourceAddress, settings: SourceSettings) -> CameraSource:
    # Loads FFmpeg, which a simulated camera does not need.
    from actors.camera.sources.file import VideoFileSource

    options = address.options
    return VideoFileSource(address.where, loop=options.get("loop") != "no", fast=options.get("pace") == "fast")


def _rtsp(address: SourceAddress, settings: SourceSettings) -> CameraSource:
    from actors.camera.sources.stream import NetworkStreamSource
    from actors.camera.sources.tls import TlsTrust

    trust, transport = TlsTrust.of(address.options), address.options.get("transport")
    return NetworkStreamSource("rtsp", address.where, address.about()["host"], settings.silence, transport, trust)


def _http(address: SourceAddress, settings: SourceSettings) -> CameraSource:
    from actors.camera.sources.http import HttpSource
    from actors.camera.sources.tls import TlsTrust

    return HttpSource(address.where, address.about()["host"], settings.silence, TlsTrust.of(address.options))


def _v4l2(address: SourceAddress, settings: SourceSettings) -> CameraSource:
    from actors.camera.sources.v4l2.source import V4l2Source

    return cast(CameraSource, V4l2Source(address))


def _pixelink(address: SourceAddress, settings: SourceSettings) -> CameraSource:
    from actors.camera.sources.pixelink.source import PixelinkSource

    return cast(CameraSource, PixelinkSource(address))


FACTORIES: Mapping[str, Factory] = {
    "sim": _card,
    "file": _film,
    "rtsp": _rtsp,
    "http": _http,
    "v4l2": _v4l2,
    "pixelink": _pixelink,
}
