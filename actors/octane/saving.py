"""Carries out the command that saves a picture on the machine that Octane runs on."""

from __future__ import annotations

import re
from typing import Any

from actors.octane.arguments import HostPath, PassName, SaveFormat
from actors.octane.controls import OctaneControls
from actors.octane.passes import pass_id
from actors.system.actor import Reject
from protos import octane_types_pb2 as wire

# The wire's number of each format, and the endings that a file of it may have; the first is added where there is none.
FORMATS: dict[str, tuple[int, tuple[str, ...]]] = {
    "png8": (wire.IMAGE_SAVE_FORMAT_PNG_8, ("png",)),
    "png16": (wire.IMAGE_SAVE_FORMAT_PNG_16, ("png",)),
    "exr16": (wire.IMAGE_SAVE_FORMAT_EXR_16, ("exr",)),
    "exr32": (wire.IMAGE_SAVE_FORMAT_EXR_32, ("exr",)),
    "tiff8": (wire.IMAGE_SAVE_FORMAT_TIFF_8, ("tif", "tiff")),
    "tiff16": (wire.IMAGE_SAVE_FORMAT_TIFF_16, ("tif", "tiff")),
    "jpeg": (wire.IMAGE_SAVE_FORMAT_JPEG, ("jpg", "jpeg")),
}
_ABSOLUTE = re.compile(r"/|[A-Za-z]:[\\/]|\\\\")
# Octane's default for lossy EXR; ZIP has no levels, but servers have been seen to want one.
_COMPRESSION_LEVEL = 45.0


class SaveCommands:
    """The command that saves pictures."""

    def __init__(self, controls: OctaneControls) -> None:
        self._controls, self._link = controls, controls.link

    async def save_image(self, path: HostPath, format: SaveFormat, pass_: PassName = "beauty") -> dict[str, Any]:
        """Saves the picture of a pass, as it is now, on the machine that Octane runs on."""
        number, _ = FORMATS[format]
        path = checked_path(path, format)
        rendered = pass_id(pass_)
        if rendered is None:
            raise Reject(f"pass must be the name of a render pass, such as beauty or z_depth, and not {pass_[:40]!r}")
        scene = format.startswith("exr")
        answer = await self._link.engine(
            "saveImage1",
            renderPassId=rendered,
            fullPath=path,
            imageSaveFormat=number,
            # EXR holds light as the scene has it; the others hold what a screen shows.
            colorSpace=wire.NAMED_COLOR_SPACE_LINEAR_SRGB if scene else wire.NAMED_COLOR_SPACE_SRGB,
            premultipliedAlphaType=wire.PREMULTIPLIED_ALPHA_TYPE_LINEARIZED
            if scene
            else wire.PREMULTIPLIED_ALPHA_TYPE_NONE,
            exrCompressionType=wire.EXR_COMPRESSION_TYPE_ZIP if scene else wire.EXR_COMPRESSION_TYPE_NO_COMPRESSION,
            exrCompressionLevel=_COMPRESSION_LEVEL,
            asynchronous=False,
        )
        if not answer.result:
            raise Reject(f"octane did not save {path}: it must be able to write there, and to have rendered {pass_}")
        return await self._controls.answer({"path": path, "format": format, "pass": pass_})


def checked_path(path: str, format: str) -> str:
    """The path with the format's ending. Raises Reject for one that no file of the format can have."""
    if not path.isprintable():
        raise Reject("path must have no control characters")
    if not _ABSOLUTE.match(path):
        raise Reject("path must be absolute, such as /renders/a.png or C:\\renders\\a.png")
    name = re.split(r"[\\/]", path)[-1]
    if not name.strip(". "):
        raise Reject("path must end with the name of a file")
    _, endings = FORMATS[format]
    stem, dot, ending = name.rpartition(".")
    known = {each for _, known in FORMATS.values() for each in known}
    if not dot or not stem or ending.lower() not in known:
        return f"{path}.{endings[0]}"
    if ending.lower() not in endings:
        raise Reject(f"path must end with .{' or .'.join(endings)} for {format}, and not with .{ending}")
    return path
