"""The traps that clients of Octane have fallen into, each as a test of what Callboard does there.

The rows are those of the list of known failures (§8 of the notes on Octane's wire), in its order and under its numbers.
Each test is named by what its row comes to. What of a row cannot be tested against the simulator, and why:

| row | what | why not here |
|---|---|---|
| 2 | which .proto file declares the stream service | the wire has no file names; that one path serves both is tested |
| 4 | Octane's own shutdown, which waits for open calls | only a real one waits; the end of the stream is tested |
| 6 | a page's WebSocket that opens without an Octane | no Octane takes part; `tests/edge` opens it without one |
| 15 | an array buffer of JavaScript that is used again | the browser gets encoded pictures; the bytes in Python are tested |
| 18 | the size that a C++ client reserves | it is no call; that a picture's own height counts is tested |
| 20 | upstream's .proto files, which do not compile together | they are not used; ours do: `tests/test_protos_are_fresh.py` |
"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from actors.octane.client import OctaneClient
from actors.octane.errors import Disconnected
from actors.octane.pixels import decode
from actors.octane.simulator import server
from actors.octane.simulator.faults import OctaneFault
from actors.octane.simulator.simulator import FIRST_OBJECT, OctaneGeneration, SimulatedKind, Simulator
from actors.octane.statistics import describe
from actors.system.actor import Reject
from actors.system.probe import Probe
from protos import octane_types_pb2 as wire
from router.nats.embedded import free_port
from tests.actors.octane.simulation import LONG, simulated
from tests.actors.octane.simulator.asking import call
from tests.actors.octane.watching import latest, pictures, said, statuses, watching
from tests.waiting import eventually

# One that stays as it is: no end, no next view.
STEADY = replace(LONG, rest=600.0)
BOTH = [OctaneGeneration.BETA_2, OctaneGeneration.ALPHA_5]


@asynccontextmanager
async def viewed(settings: Any = STEADY, **more: Any) -> AsyncIterator[tuple[Simulator, Probe]]:
    """An Octane, and an actor that shows it to one viewer."""
    async with simulated(settings) as octane, watching(octane.address, **more) as probe:
        probe.set_viewers("octane", "main", 1)
        await eventually(lambda: pictures(probe))
        yield octane, probe


def sampled(probe: Probe) -> int:
    """The samples that statistics told last."""
    return max((each["samples"] for each in said(probe, "statistics")[-1:]), default=-1)


async def more_pictures(probe: Probe, count: int = 2) -> None:
    seen = len(pictures(probe))
    await eventually(lambda: len(pictures(probe)) >= seen + count)


async def test_01_a_notification_without_images_is_followed_by_a_grab():
    async with viewed() as (octane, probe):
        await more_pictures(probe, 3)

        assert octane.grabs >= 3 and octane.releases >= 3


@pytest.mark.parametrize("generation", BOTH)
async def test_02_both_generations_are_heard_on_the_one_path_without_being_configured(generation):
    async with viewed(replace(STEADY, generation=generation)) as (octane, probe):
        await eventually(lambda: len(octane.registered) == 3 and octane.listeners)
        await more_pictures(probe)

        assert latest(probe)["status"] == "connected"


@pytest.mark.parametrize("generation", BOTH)
async def test_03_a_picture_larger_than_grpcs_own_limit_is_shown_over_one_stream(generation):
    large = replace(STEADY, width=320, height=260, pitch=4096, generation=generation, images_per_second=5.0)
    async with viewed(large) as (octane, probe):
        await more_pictures(probe)

        assert {(each["width"], each["height"]) for each in pictures(probe).values()} == {(320, 260)}
        assert len(octane.listeners) == 1


@pytest.mark.parametrize("generation", BOTH)
async def test_03_a_picture_larger_than_octanes_own_limit_is_said_to_be(generation, monkeypatch):
    monkeypatch.setattr(server, "MAX_MESSAGE", 4096)
    async with simulated(replace(STEADY, generation=generation)) as octane, watching(octane.address) as probe:
        probe.set_viewers("octane", "main", 1)
        await eventually(lambda: latest(probe).get("picture") == "unreadable")

        assert "larger than" in latest(probe)["picture_reason"] and latest(probe)["status"] == "connected"
        samples = octane.render.samples
        await eventually(lambda: sampled(probe) > samples)
        assert probe.crashes == []


async def test_04_a_stream_has_an_end_and_leaving_closes_it_before_it_unregisters():
    left: list[int] = []
    async with simulated(STEADY) as octane:
        give_back = octane.slot.give_back

        def noted(kind: SimulatedKind) -> None:
            left.append(len(octane.listeners))
            give_back(kind)

        octane.slot.give_back = noted  # type: ignore[method-assign]
        async with watching(octane.address):
            await eventually(lambda: octane.listeners and len(octane.registered) == 3)
            assert all(0 < (listener.time_left or 1e9) <= 61 for listener in octane.listeners)

        await eventually(lambda: not octane.listeners and octane.registered == {})
    assert left == [0, 0, 0]


@pytest.mark.parametrize("generation", BOTH)
async def test_05_after_a_restart_the_callbacks_are_registered_again(generation):
    async with viewed(replace(STEADY, generation=generation)) as (octane, probe):
        octane.strike(OctaneFault.RESTART)
        await eventually(lambda: octane.restarts == 1)

        await eventually(lambda: SimulatedKind.NEW_IMAGE in octane.registered)
        await more_pictures(probe)
        assert latest(probe)["status"] == "connected" and probe.crashes == []


async def test_06_without_an_octane_there_is_a_reason_and_with_one_the_health_check_is_a_call_that_exists():
    port = free_port()
    async with watching(f"127.0.0.1:{port}") as probe:
        await eventually(lambda: latest(probe).get("status") == "absent")
        assert latest(probe)["reason"]

        async with simulated(replace(STEADY, port=port)) as octane:
            await eventually(lambda: latest(probe)["status"] == "connected")
            assert octane.calls["octaneVersion"] and octane.calls["getPing"] == 0


async def test_07_no_event_carries_pixels_and_announcements_wait_as_one():
    quick = replace(STEADY, width=256, height=256, pitch=256, images_per_second=200.0, samples_per_second=200.0)
    async with viewed(quick, max_fps=5.0) as (octane, probe):
        begun, grabs, samples = len(pictures(probe)), octane.grabs, octane.render.samples
        await more_pictures(probe, 4)

        assert octane.render.samples - samples > 3 * (octane.grabs - grabs)
        assert len(pictures(probe)) >= begun + 4
        assert max(len(json.dumps(data)) for _, data in probe.emitted) < 8192
        assert all(isinstance(body, bytes) for _, _, body in probe.frames)


@pytest.mark.parametrize(
    ("number", "word"), [(0, "stopped"), (1, "waiting"), (2, "rendering"), (3, "paused"), (4, "finished"), (9, "9")]
)
def test_08_a_state_is_told_by_its_word_and_an_unknown_one_by_its_number(number, word):
    # Over the wire, where a number is not checked.
    statistics = wire.RenderResultStatistics.FromString(b"\x80\x02" + bytes([number]))

    assert describe(statistics)["state"] == word


async def test_08_image_type_1_is_grey_bytes_and_2_is_floats():
    async with simulated(STEADY) as octane:
        await eventually(lambda: octane.render.samples > 2)
        await call(octane.address, "pauseRendering")
        shown = {}
        for kind in (wire.IMAGE_TYPE_LDR_RGBA, wire.IMAGE_TYPE_LDR_MONO, wire.IMAGE_TYPE_HDR_RGBA):
            octane.forced_type = kind
            async with OctaneClient(octane.address) as client:
                (image,) = await client.grab()
            shown[kind] = decode(image).pixels.astype(float)
            assert not decode(image).short

    grey = shown[wire.IMAGE_TYPE_LDR_RGBA][:, :, :3] @ [0.2126, 0.7152, 0.0722]
    assert np.abs(shown[wire.IMAGE_TYPE_LDR_MONO][:, :, 0] - grey).max() <= 1.5
    assert np.ptp(shown[wire.IMAGE_TYPE_HDR_RGBA][:, :, :3], axis=2).max() > 0.1  # its colours are there


async def test_09_statistics_are_asked_for_though_no_event_tells_of_them():
    async with viewed() as (octane, probe):
        tell = octane.tell
        octane.tell = lambda kind: tell(kind) if kind is not SimulatedKind.NEW_STATISTICS else None  # type: ignore[method-assign]
        samples = octane.render.samples

        await eventually(lambda: sampled(probe) > samples + 20)


async def test_10_devices_are_asked_for_by_the_fields_that_each_call_has():
    async with viewed(replace(STEADY, devices=2)) as (octane, probe):
        await eventually(
            lambda: said(probe, "statistics") and len(said(probe, "statistics")[-1].get("devices", [])) == 2
        )

        devices = said(probe, "statistics")[-1]["devices"]
        usage = (await call(octane.address, "getMemoryUsage", deviceIx=1)).memUsage
    assert [device["name"] for device in devices] == [octane.device, f"{octane.device} 2"]
    assert devices[1]["total_memory"] == usage.totalDeviceMemory


@pytest.mark.parametrize(
    ("name", "ending", "magic"),
    [
        ("png8", "png", b"\x89PNG"),
        ("jpeg", "jpg", b"\xff\xd8\xff"),
        ("tiff8", "tif", b"II*\0"),
        ("exr16", "exr", b"\x76\x2f\x31\x01"),
    ],
)
async def test_11_an_image_is_saved_in_the_format_that_was_asked_for(tmp_path, name, ending, magic):
    path = tmp_path / f"out.{ending}"
    async with viewed(replace(STEADY, save_directory=tmp_path)) as (_, probe):
        await eventually(lambda: said(probe, "controls"))
        await probe.ask("save_image", path=str(path), format=name)

    assert path.read_bytes().startswith(magic)


async def test_12_a_region_is_of_whole_pixels_and_a_pick_is_one_intersection():
    async with viewed() as (octane, probe):
        await eventually(lambda: said(probe, "controls"))
        with pytest.raises(Reject):
            await probe.ask("set_region", left=0.1, top=0.1, right=0.9, bottom=0.9)
        assert not octane.region.active
        await probe.ask("set_region", left=4, top=2, right=40, bottom=20)
        assert (octane.region.regionMin.x, octane.region.regionMax.y) == (4, 20)

        picked = (await probe.ask("pick", x=24, y=14, what="object"))["result"]
        met = (await call(octane.address, "pick", x=24, y=14, intersectionsSize=1)).intersections

    assert met.node.handle >= FIRST_OBJECT and str(met.node.handle) in json.dumps(picked)


async def test_13_the_camera_does_not_jump_at_the_first_drag():
    async with viewed() as (octane, probe):
        await eventually(lambda: said(probe, "controls"))
        await probe.ask("set_camera", position=[3.0, 4.0, -5.0], target=[0.5, 1.0, 0.0])
        await eventually(lambda: octane.view.position == pytest.approx((3.0, 4.0, -5.0)))
        await probe.ask("orbit", dx=0.01, dy=0.0)
        await eventually(lambda: octane.view.position != pytest.approx((3.0, 4.0, -5.0), abs=1e-6))

        # A hundredth of a radian, about six units away.
        moved = np.linalg.norm(np.subtract(octane.view.position, (3.0, 4.0, -5.0)))
        assert 0 < moved < 0.1
        assert octane.view.target == pytest.approx((0.5, 1.0, 0.0))


@pytest.mark.parametrize("generation", BOTH)
async def test_14_a_picture_of_the_change_level_before_is_not_shown_after_one_of_the_newer(generation):
    async with viewed(replace(STEADY, generation=generation)) as (octane, probe):
        await probe.ask("restart")
        await eventually(lambda: list(pictures(probe).values())[-1]["change_level"] == 2)
        for _ in range(3):
            octane.strike(OctaneFault.LATE)
            await eventually(lambda: not octane.late)
            await more_pictures(probe)

        levels = [header["change_level"] for header in pictures(probe).values()]
        assert levels == sorted(levels) and levels[-1] == 2


async def test_15_one_float_picture_does_not_change_when_the_next_comes():
    async with simulated(replace(STEADY, hdr=True)) as octane:
        await eventually(lambda: octane.render.samples)
        async with OctaneClient(octane.address) as client:
            first = decode((await client.grab())[0]).pixels
            kept = first.copy()
            samples = octane.render.samples
            await eventually(lambda: octane.render.samples > samples + 3)
            second = decode((await client.grab())[0]).pixels

    assert np.array_equal(first, kept) and not np.array_equal(first, second)


async def test_16_an_octane_that_dies_again_and_again_is_taken_for_gone_and_asked_seldom():
    async with viewed() as (octane, probe):
        for count in range(1, 4):
            octane.strike(OctaneFault.RESTART, seconds=0.3)
            await eventually(lambda count=count: octane.restarts == count)
            await eventually(lambda count=count: octane.calls["octaneVersion"] >= count + 1)
        await more_pictures(probe)

        # 25 images a second are announced; statistics are asked for a few times a second, whatever happens.
        asked, images = octane.statistics_asked, octane.render.samples
        await eventually(lambda: octane.render.samples > images + 60)
        assert octane.statistics_asked - asked < 30
        assert set(statuses(probe)) <= {"connected", "absent"} and probe.crashes == []


@pytest.mark.parametrize("generation", BOTH)
async def test_17_a_refused_registration_changes_nothing_about_the_stream(generation):
    async with simulated(replace(STEADY, generation=generation)) as octane:
        octane.strike(OctaneFault.REFUSED_CALLBACKS)
        async with watching(octane.address) as probe:
            probe.set_viewers("octane", "main", 1)
            await eventually(lambda: len(pictures(probe)) > 2)

            assert latest(probe)["status"] == "connected" and octane.registered == {}


@pytest.mark.parametrize("size", [(96, 16), (16, 96)])
async def test_18_a_picture_is_as_high_as_it_says_and_not_as_wide(size):
    async with viewed(replace(STEADY, width=size[0], height=size[1], pitch=0)) as (_, probe):
        assert {(each["width"], each["height"]) for each in pictures(probe).values()} == {size}


async def test_18_no_memory_is_taken_for_bytes_that_did_not_arrive():
    async with viewed() as (octane, probe):
        octane.strike(OctaneFault.HUGE)
        await eventually(lambda: latest(probe)["picture"] == "unreadable")
        assert latest(probe)["picture_reason"]

        octane.clear()
        await eventually(lambda: latest(probe)["picture"] == "live")


async def test_19_both_generations_are_watched_in_one_process():
    async with (
        viewed(replace(STEADY, generation=OctaneGeneration.BETA_2)) as (_, newer),
        viewed(replace(STEADY, generation=OctaneGeneration.ALPHA_5)) as (_, older),
    ):
        for probe in itertools.chain((newer, older), (newer, older)):
            await more_pictures(probe)

        assert [latest(probe)["version"] for probe in (newer, older)] == ["15.0.0.8", "15.0.0.5"]


async def test_19_alpha_3_is_refused_with_its_name():
    async with (
        simulated(replace(STEADY, generation=OctaneGeneration.ALPHA_3)) as octane,
        watching(octane.address) as probe,
    ):
        await eventually(lambda: latest(probe).get("status") == "refused")

        assert "Alpha 3" in latest(probe)["reason"] and "Alpha 5" in latest(probe)["reason"]
    with pytest.raises(Disconnected):
        async with OctaneClient(octane.address) as client:
            await client.identify()
