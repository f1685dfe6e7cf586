"""Declares the types of the commands' arguments; their JSON Schemas and checks are made of them."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

# 1e6: far beyond any scene in metres, and within what a float of 32 bits holds to a decimal.
Coordinate: TypeAlias = Annotated[float, Meta(ge=-1e6, le=1e6)]
Point3: TypeAlias = Annotated[tuple[Coordinate, Coordinate, Coordinate], Meta(description="x, y and z")]
Radians: TypeAlias = Annotated[float, Meta(ge=-100, le=100, description="radians")]
Fraction: TypeAlias = Annotated[float, Meta(ge=-100, le=100, description="a fraction of the camera's distance")]
Factor: TypeAlias = Annotated[float, Meta(ge=0.01, le=100, description="multiplies the camera's distance")]
Degrees: TypeAlias = Annotated[float, Meta(gt=0, lt=180, description="degrees")]

# 65536: the edge of the largest film that an Octane renders; the picture's own size is checked besides.
Pixel: TypeAlias = Annotated[int, Meta(ge=0, le=65536, description="in pixels of the picture, from its top left")]

Feather: TypeAlias = Annotated[int, Meta(ge=0, le=4096, description="the width of its soft edge, in pixels")]

View: TypeAlias = Literal["front", "back", "left", "right", "top", "bottom"]
Priority: TypeAlias = Literal["low", "normal", "high"]
SubSampling: TypeAlias = Literal["none", "2x2", "4x4"]
ClayMode: TypeAlias = Literal["none", "grey", "colour"]
PickKind: TypeAlias = Literal["focus", "material", "white_point", "object"]
SaveFormat: TypeAlias = Literal["png8", "png16", "exr16", "exr32", "tiff8", "tiff16", "jpeg"]

PassName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64, description="as `passes` of the statistics")]
Exposure: TypeAlias = Annotated[float, Meta(ge=0.001, le=4096)]
Gamma: TypeAlias = Annotated[float, Meta(ge=0.1, le=32)]
Channel: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
White: TypeAlias = Annotated[tuple[Channel, Channel, Channel], Meta(description="red, green and blue")]
HostPath: TypeAlias = Annotated[
    str, Meta(min_length=2, max_length=1024, description="an absolute path on the machine that Octane runs on")
]
DeviceIndex: TypeAlias = Annotated[int, Meta(ge=0, le=63)]
