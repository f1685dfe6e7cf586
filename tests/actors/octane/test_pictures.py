"""The actor encodes what is watched, each rendition of a picture once, and receives nothing large for nobody."""

from __future__ import annotations

import io
import itertools
import threading
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from actors.octane import watched
from actors.octane.client import OctaneClient
from actors.octane.compositing import display
from actors.octane.formats import Ladder
from actors.octane.pixels import decode
from actors.octane.simulator.faults import OctaneFault
from actors.octane.simulator.simulator import OctaneGeneration, SimulatedKind
from actors.system.probe import Probe
from protos import octane_types_pb2 as wire
from router.rendition import DEFAULT, Rendition
from tests.actors.octane.simulation import LONG, simulated
from tests.actors.octane.watching import said, watching
from tests.waiting import eventually

BEAUTY, DEPTH = "frame.octane.main.beauty", "frame.octane.main.z_depth"
DEPTH_ID = wire.RENDER_PASS_Z_DEPTH


def frames(probe: Probe, subject: str) -> dict[int, tuple[dict[str, Any], bytes]]:
    """The different pictures of one subject, by number."""
    return {header["seq"]: (dict(header), body) for each, header, body in probe.frames if each == subject}


def opened(body: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(body)).convert("RGB")).astype(int)


async def test_only_the_rendition_that_is_watched_is_made():
    async with simulated(LONG) as octane, watching(octane.address, idle_fps=0.01) as probe:
        probe.set_viewers("octane", "main", 1, "beauty", "png-64")
        await eventually(lambda: len(frames(probe, f"{BEAUTY}.png-64")) > 4)

        # One of the default rendition is kept for whoever comes.
        assert len(frames(probe, BEAUTY)) == 1
        assert {subject for subject, _, _ in probe.frames} == {BEAUTY, f"{BEAUTY}.png-64"}
        for header, body in frames(probe, f"{BEAUTY}.png-64").values():
            assert header.items() >= {"format": "png", "width": 48, "full_width": 48, "full_height": 27}.items()
            assert Image.open(io.BytesIO(body)).format == "PNG"


async def test_each_rendition_of_a_picture_is_encoded_once_whoever_watches(monkeypatch):
    made: Counter[tuple[int, Rendition]] = Counter()
    shallow, ladders = Ladder._shallow, []

    def counted(self: Ladder, rendition: Rendition) -> Any:
        ladders.append(self)  # kept, so that no other has its id
        made[id(self), rendition] += 1
        return shallow(self, rendition)

    monkeypatch.setattr(Ladder, "_shallow", counted)
    async with simulated(LONG) as octane, watching(octane.address) as probe:
        probe.set_viewers("octane", "main", 3)
        probe.set_viewers("octane", "main", 2, "beauty", DEFAULT.token)
        probe.set_viewers("octane", "main", 2, "beauty", "webp")
        await eventually(lambda: len(frames(probe, f"{BEAUTY}.webp")) > 4 and len(frames(probe, BEAUTY)) > 4)

    assert set(made.values()) == {1}
    # Both renditions of a picture have its number.
    assert len(frames(probe, BEAUTY).keys() & frames(probe, f"{BEAUTY}.webp").keys()) > 2


@pytest.mark.parametrize("ids", [False, True])
async def test_a_render_pass_is_on_only_while_somebody_watches_it(ids):
    settings = replace(LONG, passes=3, pass_ids=ids)
    async with simulated(settings) as octane, watching(octane.address, idle_fps=20.0) as probe:
        await eventually(lambda: said(probe, "statistics") and frames(probe, BEAUTY))
        assert octane.calls["setAsyncTonemapRenderPasses"] == 0

        probe.set_viewers("octane", "main", 1, "z_depth", "png-black")
        await eventually(lambda: len(frames(probe, f"{DEPTH}.png-black")) > 1)
        assert octane.tonemapped == [wire.RENDER_PASS_BEAUTY, DEPTH_ID]
        probe.set_viewers("octane", "main", 1, "shading_normal", "png-black")
        normal = "frame.octane.main.shading_normal.png-black"
        await eventually(lambda: len(frames(probe, normal)) > 1)

        probe.set_viewers("octane", "main", 0, "z_depth", "png-black")
        probe.set_viewers("octane", "main", 0, "shading_normal", "png-black")
        await eventually(lambda: octane.tonemapped == [wire.RENDER_PASS_BEAUTY])

    # Each track shows its own pass, and no other's: depth is grey, normals are colourful.
    for header, body in frames(probe, f"{DEPTH}.png-black").values():
        assert header["track"] == "z_depth" and np.ptp(opened(body), axis=2).max() == 0
    for header, body in frames(probe, normal).values():
        assert header["track"] == "shading_normal" and np.ptp(opened(body), axis=2).max() > 50


async def test_passes_that_somebody_else_chose_stay_on():
    settings = replace(LONG, passes=3)
    async with simulated(settings) as octane, watching(octane.address) as probe:
        octane.tonemap_passes = [wire.RENDER_PASS_BEAUTY, wire.RENDER_PASS_SHADING_NORMAL]
        await eventually(lambda: said(probe, "statistics"))
        probe.set_viewers("octane", "main", 1, "z_depth", DEFAULT.token)
        await eventually(lambda: DEPTH_ID in octane.tonemapped)

        probe.set_viewers("octane", "main", 0, "z_depth", DEFAULT.token)

        await eventually(lambda: DEPTH_ID not in octane.tonemapped)
        assert octane.tonemapped == [wire.RENDER_PASS_BEAUTY, wire.RENDER_PASS_SHADING_NORMAL]


async def test_a_pass_that_a_command_chose_stays_on_when_its_viewer_leaves_and_after_a_restart_of_octane():
    async with simulated(replace(LONG, passes=3)) as octane, watching(octane.address) as probe:
        await eventually(lambda: said(probe, "statistics"))
        for track in ("z_depth", "shading_normal"):
            probe.set_viewers("octane", "main", 1, track, DEFAULT.token)
        await eventually(lambda: len(octane.tonemapped) == 3)
        await probe.ask("set_passes", passes=["z_depth"])
        assert len(octane.tonemapped) == 3  # what is watched stays on
        for track in ("z_depth", "shading_normal"):
            probe.set_viewers("octane", "main", 0, track, DEFAULT.token)
        await eventually(lambda: octane.tonemapped == [wire.RENDER_PASS_BEAUTY, DEPTH_ID])
        probe.set_viewers("octane", "main", 1, "shading_normal", DEFAULT.token)
        await eventually(lambda: len(octane.tonemapped) == 3)

        octane.strike(OctaneFault.RESTART)
        await eventually(lambda: octane.restarts == 1)
        await eventually(lambda: len(octane.tonemapped) == 3)
        probe.set_viewers("octane", "main", 0, "shading_normal", DEFAULT.token)
        await eventually(lambda: octane.tonemapped == [wire.RENDER_PASS_BEAUTY, DEPTH_ID])
        await probe.ask("set_passes", passes=[])
        assert octane.tonemapped == [wire.RENDER_PASS_BEAUTY]
    assert probe.crashes == []


async def test_leaving_switches_off_what_was_switched_on():
    async with simulated(replace(LONG, passes=2)) as octane:
        async with watching(octane.address) as probe:
            probe.set_viewers("octane", "main", 1, "z_depth", DEFAULT.token)
            await eventually(lambda: DEPTH_ID in octane.tonemapped)

        await eventually(lambda: octane.tonemapped == [wire.RENDER_PASS_BEAUTY])


@pytest.mark.parametrize(
    "what", [("pass-19999", "jpeg-black"), ("no_pass", "jpeg-black"), ("beauty", "gif"), ("a", "b", "c")]
)
async def test_a_lease_for_what_there_is_not_stops_nothing(what):
    async with simulated(LONG) as octane, watching(octane.address) as probe:
        probe.set_viewers("octane", "main", 1, *what)
        probe.set_viewers("octane", "main", 1)

        await eventually(lambda: len(frames(probe, BEAUTY)) > 3)

        assert {subject for subject, _, _ in probe.frames} == {BEAUTY}
        assert octane.calls["setAsyncTonemapRenderPasses"] == 0 and probe.crashes == []


async def test_more_renditions_than_are_made_are_not_made(monkeypatch):
    monkeypatch.setattr(watched, "MAX_RENDITIONS", 3)
    async with simulated(LONG) as octane, watching(octane.address) as probe:
        for token in ("jpeg-black", "png", "webp", "png-64", "webp-64"):
            probe.set_viewers("octane", "main", 1, "beauty", token)

        await eventually(lambda: len(frames(probe, f"{BEAUTY}.webp")) > 2)

        assert {subject for subject, _, _ in probe.frames} == {BEAUTY, f"{BEAUTY}.png", f"{BEAUTY}.webp"}


async def test_who_comes_late_gets_the_newest_picture_in_every_form():
    async with simulated(replace(LONG, max_samples=5, rest=600.0)) as octane, watching(octane.address) as probe:
        await eventually(lambda: said(probe, "statistics") and said(probe, "statistics")[-1]["state"] == "finished")
        await eventually(lambda: any(header["samples"] == 5 for header, _ in frames(probe, BEAUTY).values()))

        for token, start in (("png16", b"\x89PNG"), ("exr", b"v/1\x01"), ("webp-64-white", b"RIFF")):
            probe.set_viewers("octane", "main", 1, "beauty", token)
            await eventually(lambda: frames(probe, f"{BEAUTY}.{token}"))  # awaited in this round
            ((header, body),) = frames(probe, f"{BEAUTY}.{token}").values()
            assert header["samples"] == 5 and body.startswith(start)


async def test_alpha_5_sends_images_along_only_while_somebody_watches():
    settings = replace(LONG, generation=OctaneGeneration.ALPHA_5)
    async with simulated(settings) as octane, watching(octane.address, idle_fps=20.0) as probe:
        await eventually(lambda: len(frames(probe, BEAUTY)) > 2)
        # Pictures come by grabbing.
        assert octane.calls["grabRenderResult"] > 2
        assert SimulatedKind.NEW_IMAGE not in octane.registered

        probe.set_viewers("octane", "main", 1)
        await eventually(lambda: SimulatedKind.NEW_IMAGE in octane.registered)
        seen = len(frames(probe, BEAUTY))
        await eventually(lambda: len(frames(probe, BEAUTY)) > seen + 3)

        probe.set_viewers("octane", "main", 0)
        await eventually(lambda: SimulatedKind.NEW_IMAGE not in octane.registered)


async def test_a_picture_too_wide_for_a_jpeg_is_told_and_shown_in_other_forms(monkeypatch):
    monkeypatch.setattr("actors.octane.formats.MAX_SIDE", {"jpeg": 40})
    async with simulated(LONG) as octane, watching(octane.address) as probe:
        probe.set_viewers("octane", "main", 1)
        probe.set_viewers("octane", "main", 1, "beauty", "png")

        await eventually(lambda: len(frames(probe, f"{BEAUTY}.png")) > 1)
        state = await eventually(lambda: [s for s in said(probe, "state") if s.get("picture") == "unreadable"])

        assert "more than a jpeg can hold" in state[0]["picture_reason"]
        assert not frames(probe, BEAUTY)


async def test_a_held_picture_is_sent_again_so_that_it_stays_to_be_found():
    settings = replace(LONG, max_samples=3, rest=600.0)
    async with simulated(settings) as octane, watching(octane.address) as probe:
        await eventually(lambda: any(header["samples"] == 3 for header, _ in frames(probe, BEAUTY).values()))
        last = max(frames(probe, BEAUTY))

        await eventually(lambda: sum(header["seq"] == last for _, header, _ in probe.frames) > 2)


async def test_an_exr_in_the_making_does_not_hold_up_the_stream(monkeypatch):
    gate, deep = threading.Event(), Ladder._deep

    def held_up(self: Ladder, rendition: Rendition) -> Any:
        gate.wait(60)
        return deep(self, rendition)

    monkeypatch.setattr(Ladder, "_deep", held_up)
    async with simulated(LONG) as octane, watching(octane.address) as probe:
        try:
            probe.set_viewers("octane", "main", 1)
            probe.set_viewers("octane", "main", 1, "beauty", "exr")
            await eventually(lambda: len(frames(probe, BEAUTY)) > 8)
            assert not frames(probe, f"{BEAUTY}.exr")
        finally:
            gate.set()

        await eventually(lambda: frames(probe, f"{BEAUTY}.exr"))


async def test_alpha_is_kept_in_a_png_and_composited_for_a_jpeg():
    settings = replace(LONG, alpha=True, max_samples=3, rest=600.0)
    async with simulated(settings) as octane, watching(octane.address) as probe:
        for token in ("png", "png-white", "png-black"):
            probe.set_viewers("octane", "main", 1, "beauty", token)
        await eventually(lambda: all(frames(probe, f"{BEAUTY}.{token}") for token in ("png", "png-white", "png-black")))

    shown = {
        token: Image.open(io.BytesIO(list(frames(probe, f"{BEAUTY}.{token}").values())[-1][1]))
        for token in ("png", "png-white", "png-black")
    }
    assert [shown[token].mode for token in shown] == ["RGBA", "RGB", "RGB"]
    sky = np.asarray(shown["png"])[:, :, 3] == 0
    assert sky.any() and not sky.all()
    assert (np.asarray(shown["png-white"])[sky] == 255).all() and (np.asarray(shown["png-black"])[sky] == 0).all()


async def test_a_float_render_looks_the_same_in_every_colour_space():
    settings = replace(LONG, max_samples=2, rest=600.0)
    async with simulated(settings) as octane, OctaneClient(octane.address) as client:
        await eventually(lambda: octane.render.state == wire.RSTATE_FINISHED)
        seen = {}
        for kind, space in itertools.product((wire.IMAGE_TYPE_HDR_RGBA, wire.IMAGE_TYPE_HALF_RGBA), range(2, 6)):
            octane.forced_type = kind
            octane.controls.tonemap = replace(octane.controls.tonemap, space=space)
            (image,) = await client.grab()
            assert (image.type, image.colorSpace) == (kind, space)
            seen[kind, space] = display(decode(image), "black")[:, :48, :3].astype(int)

    exact = seen[wire.IMAGE_TYPE_HDR_RGBA, wire.NAMED_COLOR_SPACE_LINEAR_SRGB]
    assert np.ptp(exact, axis=2).max() > 60  # there are colours
    for (kind, space), shown in seen.items():
        # Half floats have eleven bits, which is less than a byte's step near black.
        assert np.abs(shown - exact).max() <= (1 if kind == wire.IMAGE_TYPE_HDR_RGBA else 2), (kind, space)
