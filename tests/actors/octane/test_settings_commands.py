"""Commands that set how an Octane renders, save, pick and ask, on both generations, against the simulator over real gRPC."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from PIL import Image

from actors.octane.simulator.settings import Generation
from actors.system.actor import Reject
from protos import octane_node_pb2 as node
from protos import octane_types_pb2 as wire
from tests.actors.octane.commanding import STEADY, commanded
from tests.actors.octane.watching import said
from tests.waiting import eventually

both = pytest.mark.parametrize("generation", [Generation.BETA_2, Generation.ALPHA_5])


@both
async def test_settings_are_set_read_back_and_shown(generation):
    async with commanded(replace(STEADY, generation=generation, passes=4)) as (octane, probe):
        for priority in ("low", "high", "normal"):
            assert (await probe.ask("set_priority", priority=priority))["priority"] == priority
        for mode in ("2x2", "4x4", "none"):
            assert (await probe.ask("set_sub_sampling", mode=mode))["sub_sampling"] == mode
        for mode in ("grey", "colour", "none"):
            assert (await probe.ask("set_clay_mode", mode=mode))["clay_mode"] == mode
        await probe.ask("set_priority", priority="high")
        assert octane.controls.priority == 2
        shown = said(probe, "controls")[-1]
        assert (shown["priority"], shown["sub_sampling"], shown["clay_mode"]) == ("high", "none", "none")


@both
async def test_exposure_gamma_and_white_balance_reach_the_imager(generation):
    async with commanded(replace(STEADY, generation=generation)) as (octane, probe):
        answer = await probe.ask("set_tonemap", exposure=2.5, white_balance=[1, 0.75, 0.5])
        assert answer["tonemap"] == {"exposure": 2.5, "gamma": 1.0, "white_balance": [1.0, 0.75, 0.5]}
        assert (await probe.ask("set_tonemap", gamma=2.2))["tonemap"]["gamma"] == pytest.approx(2.2)

        assert octane.pins.gains == pytest.approx((2.5, 2.5 / 0.75, 5.0)) and octane.pins.gamma == pytest.approx(2.2)
        assert said(probe, "controls")[-1]["tonemap"]["exposure"] == 2.5


@both
async def test_a_film_region_is_set_bounded_by_the_film_and_cleared(generation):
    async with commanded(replace(STEADY, generation=generation)) as (_, probe):
        answer = await probe.ask("set_film_region", left=4, top=2, right=40, bottom=20)
        assert answer["film_region"] == {"left": 4, "top": 2, "right": 40, "bottom": 20}
        with pytest.raises(Reject, match="'right': at most 48"):
            await probe.ask("set_film_region", left=4, top=2, right=49, bottom=20)
        assert (await probe.ask("clear_film_region"))["film_region"] is None


async def test_an_octane_without_the_node_service_says_that_it_is_not_available_and_shows_no_tonemap():
    async with commanded() as (octane, probe):
        octane.settings = replace(octane.settings, generation=Generation.ALPHA_3)
        octane.pins.get = octane.pins.set = _refuse  # type: ignore[method-assign]

        with pytest.raises(Reject, match=r"not available on this Octane|octane refused"):
            await probe.ask("set_tonemap", exposure=2)
    assert probe.crashes == []


def _refuse(*_: object) -> None:
    from actors.octane.simulator.refusing import invalid

    raise invalid("the node has no such pin")


@both
async def test_a_pick_tells_what_is_there_and_focus_is_applied(generation):
    async with commanded(replace(STEADY, generation=generation)) as (octane, probe):
        for what in ("object", "material"):
            result = (await probe.ask("pick", x=24, y=20, what=what))["result"]
            assert result["found"] and result["node"]["handle"] and result["what"] == what
            assert math.hypot(*result["normal"]) == pytest.approx(1, abs=1e-3)
            assert result["distance"] == pytest.approx(math.dist(octane.view.position, result["position"]), rel=1e-3)

        result = (await probe.ask("pick", x=24, y=20, what="focus"))["result"]
        assert result["applied"] is True
        assert octane.pins.get(1000008, node.P_FOCAL_DEPTH) == pytest.approx(result["distance"], rel=1e-4)
        assert octane.pins.get(1000008, node.P_AUTOFOCUS) is False
        result = (await probe.ask("pick", x=24, y=0, what="object"))["result"]
        assert result == {"x": 24, "y": 0, "what": "object", "found": False}


@both
async def test_a_white_point_is_picked_and_applied(generation):
    async with commanded(replace(STEADY, generation=generation)) as (_, probe):
        answer = await probe.ask("pick", x=24, y=20, what="white_point")

        result = answer["result"]
        assert result["applied"] is True and max(answer["tonemap"]["white_balance"]) == pytest.approx(1)
        red, green, blue = result["white_point"]
        assert answer["tonemap"]["white_balance"][1] == pytest.approx(green / max(red, green, blue), rel=1e-3)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"x": 48, "y": 0, "what": "object"}, "'x': less than 48"),
        ({"x": 0, "y": 27, "what": "object"}, "'y': less than 27"),
        ({"x": 0.5, "y": 0, "what": "object"}, "'x'"),
        ({"x": -1, "y": 0, "what": "object"}, "'x'"),
        ({"x": 1, "y": 0, "what": "everything"}, "'what'.*focus"),
    ],
)
async def test_a_pick_outside_of_the_picture_is_refused_and_reaches_no_octane(given, named):
    async with commanded() as (octane, probe):
        with pytest.raises(Reject, match=named):
            await probe.ask("pick", **given)

        assert octane.calls["pick"] == octane.calls["pickWhitePoint"] == 0


@pytest.mark.parametrize(
    ("format", "ending", "kind", "mode"),
    [
        ("png8", "png", "PNG", ("RGB", "RGBA")),
        ("png16", "png", "PNG", ("RGB", "RGBA", "I;16")),
        ("exr16", "exr", b"\x76\x2f\x31\x01", ()),
        ("exr32", "exr", b"\x76\x2f\x31\x01", ()),
        ("tiff8", "tif", "TIFF", ("RGB", "RGBA")),
        ("tiff16", "tif", "TIFF", ()),
        ("jpeg", "jpg", "JPEG", ("RGB",)),
    ],
)
async def test_a_picture_is_saved_in_every_format_of_the_wire(tmp_path, format, ending, kind, mode):
    async with commanded(replace(STEADY, save_directory=tmp_path)) as (_, probe):
        answer = await probe.ask("save_image", path=str(tmp_path / "a"), format=format)

    path = tmp_path / f"a.{ending}"
    assert answer["result"] == {"path": str(path), "format": format, "pass": "beauty"}
    if isinstance(kind, bytes):
        assert path.read_bytes().startswith(kind)
    elif mode:
        with Image.open(path) as saved:
            assert saved.format == kind and saved.size == (48, 27) and saved.mode in mode
    else:
        assert path.read_bytes()[:4] == b"II*\x00"


async def test_what_octane_does_not_save_is_refused_with_the_reason(tmp_path):
    async with commanded(replace(STEADY, save_directory=tmp_path)) as (octane, probe):
        for given, named in (
            ({"path": "/elsewhere/a.png", "format": "png8"}, "octane refused: .*saves only below"),
            ({"path": str(tmp_path / "a"), "format": "png8", "pass": "z_depth"}, "did not save .*a.png.*z_depth"),
            ({"path": "a.png", "format": "png8"}, "'path'.*absolute"),
            ({"path": "/a.png", "format": "jpeg"}, r"'path'.*\.png.*\.jpg"),
            ({"path": "/a\nb.png", "format": "png8"}, "'path'.*control"),
            ({"path": "/a/..", "format": "png8"}, "'path'.*name of a file"),
            ({"path": str(tmp_path / "a"), "format": "gif"}, "'format'.*jpeg"),
            ({"path": str(tmp_path / "a"), "format": "png8", "pass": "nonsense"}, "'pass'.*nonsense"),
        ):
            with pytest.raises(Reject, match=named):
                await probe.ask("save_image", **given)

        assert octane.calls["saveImage1"] == 2 and not list(tmp_path.iterdir())


async def test_passes_are_chosen_by_name_with_beauty_always_among_them():
    async with commanded(replace(STEADY, passes=4)) as (octane, probe):
        enabled = octane.enabled_passes
        assert len(enabled) == 4
        name = wire.RenderPassId.Name(enabled[1]).removeprefix("RENDER_PASS_").lower()

        answer = await probe.ask("set_passes", passes=[name])
        assert answer["passes"] == ["beauty", name]
        answer = await probe.ask("set_passes", passes=[])
        assert answer["passes"] == ["beauty"]


async def test_devices_memory_geometry_textures_and_compilation_are_told():
    async with commanded(replace(STEADY, devices=2)) as (_, probe):
        devices = (await probe.ask("device_statistics"))["result"]["devices"]
        assert [each["index"] for each in devices] == [0, 1]
        assert all(each["name"] and each["memory"]["total"] >= each["memory"]["used"] for each in devices)
        resources = (await probe.ask("resource_statistics", device=1))["result"]["devices"]
        assert [each["index"] for each in resources] == [1]
        assert set(resources[0]["memory"]) == {"device", "out_of_core", "peer_to_peer"}
        assert "geometry" in resources[0]["memory"]["device"]
        with pytest.raises(Reject, match="'device': octane has 2 devices"):
            await probe.ask("resource_statistics", device=2)
        geometry = (await probe.ask("geometry_statistics"))["result"]
        assert set(geometry) >= {"tri", "instance", "voxel"}
        assert set((await probe.ask("texture_statistics"))["result"]) >= {"used_rgba32_textures"}
        assert (await probe.ask("is_compiling"))["result"] == {"compiling": False, "compressing_textures": False}


async def test_what_somebody_sets_in_octane_itself_is_shown():
    async with commanded() as (octane, probe):
        octane.controls.clay = 1
        octane.controls.priority = 0

        await eventually(lambda: said(probe, "controls")[-1]["clay_mode"] == "grey")
        assert said(probe, "controls")[-1]["priority"] == "low"
