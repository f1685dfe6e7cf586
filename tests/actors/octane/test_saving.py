"""Saving pictures where Octane runs, against the simulator over real gRPC."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PIL import Image

from actors.octane.saving import checked_path
from actors.octane.simulator.refusing import invalid
from actors.system.actor import Reject
from tests.actors.octane.commanding import STEADY, commanded


def _refuse(*_: object) -> None:
    raise invalid("the node has no such pin")


async def test_a_picture_is_saved_in_every_format_of_the_wire(tmp_path):
    async with commanded(replace(STEADY, save_directory=tmp_path)) as (_, probe):
        for format, ending, begins, mode in (
            ("png8", "png", b"\x89PNG", {"RGB", "RGBA"}),
            ("png16", "png", b"\x89PNG", set()),
            ("exr16", "exr", b"\x76\x2f\x31\x01", set()),
            ("exr32", "exr", b"\x76\x2f\x31\x01", set()),
            ("tiff8", "tif", b"II*\x00", {"RGB", "RGBA"}),
            ("tiff16", "tif", b"II*\x00", set()),
            ("jpeg", "jpg", b"\xff\xd8\xff", {"RGB"}),
        ):
            answer = await probe.ask("save_image", path=str(tmp_path / format), format=format)

            path = tmp_path / f"{format}.{ending}"
            assert answer["result"] == {"path": str(path), "format": format, "pass": "beauty"}
            assert path.read_bytes().startswith(begins)
            if mode:
                with Image.open(path) as saved:
                    assert saved.size == (48, 27) and saved.mode in mode
    # 16 bits a channel: byte 24 of a PNG says how many.
    assert (tmp_path / "png16.png").read_bytes()[24] == 16 and (tmp_path / "png8.png").read_bytes()[24] == 8


def test_a_path_gets_the_ending_of_its_format_where_it_has_none():
    assert checked_path("/renders/today", "exr16") == "/renders/today.exr"
    assert checked_path("/renders/v1.2", "png8") == "/renders/v1.2.png"
    assert checked_path("/renders/a.TIFF", "tiff16") == "/renders/a.TIFF"
    assert checked_path("C:\\renders\\a", "jpeg") == "C:\\renders\\a.jpg"
    assert checked_path("\\\\host\\share\\a.png", "png8") == "\\\\host\\share\\a.png"


async def test_what_octane_does_not_save_is_refused_with_the_reason(tmp_path):
    async with commanded(replace(STEADY, save_directory=tmp_path)) as (octane, probe):
        for given, named in (
            ({"path": "/elsewhere/a.png", "format": "png8"}, "octane refused: .*saves only below"),
            ({"path": str(tmp_path / "a"), "format": "png8", "pass": "z_depth"}, "did not save .*a.png.*z_depth"),
            ({"path": "a.png", "format": "png8"}, "^path.* must .*absolute"),
            (
                {"path": "/a.png", "format": "jpeg"},
                r"^path must end with \.jpg or \.jpeg for jpeg, and not with \.png$",
            ),
            ({"path": "/a\nb.png", "format": "png8"}, "^path.* must .*control"),
            ({"path": "/a/..", "format": "png8"}, "^path.* must .*name of a file"),
            ({"path": str(tmp_path / "a"), "format": "gif"}, "^format.* must .*jpeg"),
            ({"path": str(tmp_path / "a"), "format": "png8", "pass": "nonsense"}, "^pass.* must .*nonsense"),
        ):
            with pytest.raises(Reject, match=named):
                await probe.ask("save_image", **given)

        assert octane.calls["saveImage1"] == 2 and not list(tmp_path.iterdir())
