"""What is said of an Octane that misbehaves: each fault of the simulator, struck while pictures are watched."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from actors.octane.callbacks import USER_DATA
from actors.octane.simulator.faults import OctaneFault
from actors.octane.simulator.listeners import CallbackSlot, Registration, SimulatedKind
from actors.octane.simulator.simulator import OctaneGeneration, Simulator
from actors.system.actor import Reject
from actors.system.probe import Probe
from protos import octane_types_pb2 as wire
from router.nats.embedded import free_port
from tests.actors.octane.simulation import LONG, simulated
from tests.actors.octane.watching import latest, pictures, said, statuses, watching
from tests.waiting import eventually

IMAGES = SimulatedKind.NEW_IMAGE
GENERATIONS = pytest.mark.parametrize("generation", [OctaneGeneration.BETA_2, OctaneGeneration.ALPHA_5])


@asynccontextmanager
async def shown(octane: Simulator, **settings: Any) -> AsyncIterator[Probe]:
    """An actor that shows the Octane's pictures to a viewer."""
    async with watching(octane.address, **settings) as probe:
        probe.set_viewers("octane", "main", 1)
        await eventually(lambda: latest(probe).get("picture") == "live" and octane.registered.get(IMAGES) == USER_DATA)
        yield probe


def is_now(probe: Probe, **fields: str) -> bool:
    """Says whether the newest state has these values."""
    return bool(fields.items() <= latest(probe).items())


async def goes_on(probe: Probe, count: int = 3) -> None:
    """Waits for further pictures."""
    seen = max(pictures(probe), default=0)
    await eventually(lambda: max(pictures(probe), default=0) >= seen + count)


async def test_a_stream_that_ends_with_an_unknown_status_is_refused_and_pictures_are_fetched_without_it():
    async with simulated(replace(LONG, generation=OctaneGeneration.ALPHA_5)) as octane, shown(octane) as probe:
        octane.strike(OctaneFault.UNKNOWN_STATUS)
        await eventually(lambda: is_now(probe, status="refused"))
        assert "Unexpected error in RPC handling" in latest(probe)["reason"]
        opened = octane.streams_opened
        await goes_on(probe)

        # It backs off, and does not say that it is connected each time that it tries.
        assert octane.streams_opened - opened <= 3
        assert statuses(probe) == ["connected", "refused"]
        octane.clear()
        await eventually(lambda: is_now(probe, status="connected"))

    assert probe.crashes == []


async def test_images_larger_than_a_message_are_said_to_be_and_come_along_no_more():
    async with (
        simulated(replace(LONG, generation=OctaneGeneration.ALPHA_5)) as octane,
        watching(octane.address, max_message=4096) as probe,  # a picture here has 6912 bytes
    ):
        probe.set_viewers("octane", "main", 1)
        await eventually(lambda: is_now(probe, status="connected", picture="unreadable"))
        assert "larger than" in latest(probe)["picture_reason"]
        await eventually(lambda: set(octane.registered) == {SimulatedKind.NEW_STATISTICS, SimulatedKind.RENDER_FAILURE})
        grabs = octane.grabs
        await eventually(lambda: octane.grabs > grabs + 1)

    assert probe.crashes == []


@GENERATIONS
async def test_a_callback_slot_that_another_takes_is_taken_back(generation):
    async with simulated(replace(LONG, generation=generation)) as octane, shown(octane) as probe:
        octane.strike(OctaneFault.SLOT)
        assert octane.registered[IMAGES] != USER_DATA
        await eventually(lambda: octane.registered[IMAGES] == USER_DATA)
        await goes_on(probe)

        assert statuses(probe) == ["connected"]
        assert "callback_slot" not in latest(probe)


async def test_a_slot_that_is_taken_without_a_word_is_missed_and_pictures_are_fetched_meanwhile():
    async with simulated(LONG) as octane, shown(octane) as probe:
        octane.slot.registrations[IMAGES] = Registration(CallbackSlot.ELSEWHERE, 0, 1)
        await goes_on(probe)
        await eventually(lambda: octane.registered[IMAGES] == USER_DATA)

        assert is_now(probe, status="connected", picture="live")


async def test_a_slot_that_is_taken_again_and_again_is_contested():
    async with simulated(LONG) as octane, shown(octane) as probe:
        for _ in range(3):
            await eventually(lambda: octane.registered[IMAGES] == USER_DATA)
            octane.strike(OctaneFault.SLOT)
        await eventually(lambda: is_now(probe, status="connected", callback_slot="contested"))
        await goes_on(probe)


async def test_callbacks_that_are_refused_keep_no_picture_away():
    async with simulated(LONG) as octane:
        octane.strike(OctaneFault.REFUSED_CALLBACKS)
        async with watching(octane.address) as probe:
            probe.set_viewers("octane", "main", 1)
            await goes_on(probe)

            assert is_now(probe, status="connected", picture="live")


async def test_a_broken_stream_is_opened_again_over_the_same_connection():
    async with simulated(LONG) as octane, shown(octane) as probe:
        opened = octane.streams_opened
        octane.strike(OctaneFault.STREAM)
        await eventually(lambda: octane.streams_opened > opened)
        await goes_on(probe)

        assert statuses(probe) == ["connected"] and octane.calls["octaneVersion"] == 1


@pytest.mark.parametrize("viewers", [0, 1])
async def test_an_octane_that_hangs_is_busy_refuses_commands_as_such_and_heals_by_itself(viewers):
    async with simulated(LONG) as octane, shown(octane) as probe:
        probe.set_viewers("octane", "main", viewers)
        octane.strike(OctaneFault.HANG)
        await eventually(lambda: is_now(probe, status="busy", picture="stale"))
        assert "not answered" in latest(probe)["reason"] and "busy" in latest(probe)["picture_reason"]
        with pytest.raises(Reject, match="busy"):
            await probe.ask("pause")

        octane.clear()
        await eventually(lambda: is_now(probe, status="connected", picture="live"))
        await probe.ask("pause")
        assert octane.render.state == wire.RSTATE_PAUSED
        assert statuses(probe) == ["connected", "busy", "connected"]

    assert probe.crashes == []


async def test_an_octane_that_hangs_from_the_start_is_busy_and_not_absent():
    async with simulated(LONG) as octane:
        octane.strike(OctaneFault.HANG)
        async with watching(octane.address) as probe:
            await eventually(lambda: statuses(probe) == ["busy"])
            octane.clear()
            await eventually(lambda: statuses(probe) == ["busy", "connected"])


async def test_a_port_that_accepts_connections_and_says_nothing_is_busy_and_one_that_does_not_is_absent():
    writers: list[asyncio.StreamWriter] = []

    async def hush(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    port = free_port()
    async with watching(f"127.0.0.1:{port}") as probe:
        await eventually(lambda: statuses(probe) == ["absent"])
        with pytest.raises(Reject, match=r"no octane answers at .*refused"):
            await probe.ask("pause")
        async with await asyncio.start_server(hush, "127.0.0.1", port):
            await eventually(lambda: statuses(probe) == ["absent", "busy"])
        for writer in writers:
            writer.transport.abort()
        await eventually(lambda: statuses(probe) == ["absent", "busy", "absent"])


async def test_the_picture_of_an_octane_that_died_is_stale_until_it_is_back():
    async with simulated(LONG) as octane, shown(octane) as probe:
        octane.strike(OctaneFault.RESTART, 1.0)
        await eventually(lambda: is_now(probe, status="absent", picture="stale"))
        assert latest(probe)["picture_since"] >= latest(probe)["since"]
        await eventually(lambda: is_now(probe, status="connected", picture="live"))


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (OctaneFault.SHORT, "missing|rows|short"),
        (OctaneFault.SHARED_SURFACE, "graphics card|surface"),
        (OctaneFault.COMPRESSED, "type"),
        (OctaneFault.WIDE, "jpeg"),
        (OctaneFault.HUGE, "size|bytes|missing|rows"),
    ],
)
async def test_a_picture_that_cannot_be_shown_is_unreadable_with_why_and_since_when(fault, why):
    async with simulated(LONG) as octane, shown(octane) as probe:
        octane.strike(fault)
        await eventually(lambda: is_now(probe, status="connected", picture="unreadable"))
        assert re.search(why, latest(probe)["picture_reason"]) and latest(probe)["picture_since"]

        octane.clear()
        await eventually(lambda: is_now(probe, status="connected", picture="live"))

    assert probe.crashes == []


async def test_a_render_whose_images_stay_away_is_stale_though_everything_answers():
    async with simulated(LONG) as octane, shown(octane) as probe:
        images = octane.images

        async def none() -> list[wire.ApiRenderImage]:
            return []

        octane.images = none  # type: ignore[method-assign]
        await eventually(lambda: is_now(probe, status="connected", picture="stale"))
        assert "samples grow" in latest(probe)["picture_reason"]

        octane.images = images  # type: ignore[method-assign]
        await eventually(lambda: is_now(probe, status="connected", picture="live"))


async def test_pictures_of_a_region_are_shown_though_the_samples_of_the_whole_stand():
    async with simulated(LONG) as octane, shown(octane) as probe:
        await probe.ask("set_region", left=4, top=4, right=30, bottom=20)
        await goes_on(probe, 5)

        assert is_now(probe, picture="live")


async def test_a_picture_with_pending_updates_is_another_than_the_one_without():
    async with simulated(LONG) as octane, shown(octane) as probe:
        await probe.ask("pause")
        await eventually(lambda: pictures(probe)[max(pictures(probe))]["samples"] == octane.render.samples)
        seen = max(pictures(probe))
        octane.strike(OctaneFault.PENDING)

        await eventually(lambda: max(pictures(probe)) == seen + 1)


async def test_a_late_picture_of_the_scene_before_is_not_shown():
    async with simulated(LONG) as octane, shown(octane) as probe:
        await probe.ask("restart")
        await eventually(lambda: pictures(probe)[max(pictures(probe))]["change_level"] == octane.render.change_level)
        for _ in range(3):
            octane.strike(OctaneFault.LATE)
            await goes_on(probe)

        levels = [header["change_level"] for _, header in sorted(pictures(probe).items())]
        assert levels == sorted(levels)


async def test_an_octane_that_counts_anew_after_a_restart_is_shown():
    async with simulated(LONG) as octane, shown(octane) as probe:
        for _ in range(3):
            await probe.ask("restart")
        await eventually(lambda: pictures(probe)[max(pictures(probe))]["change_level"] == octane.render.change_level)
        before = octane.render.change_level
        octane.strike(OctaneFault.RESTART, 0.5)
        await eventually(lambda: octane.restarts)

        await eventually(lambda: pictures(probe)[max(pictures(probe))]["change_level"] < before)


async def test_a_failure_from_before_the_callbacks_is_told_once():
    async with simulated(LONG) as octane:
        octane.fail(wire.RENDER_ERROR_KERNEL_FAILED)
        async with watching(octane.address, stream_lifetime=0.5) as probe:
            await eventually(lambda: octane.streams_opened > 4)

            (failure,) = said(probe, "render_failure")
            assert failure["devices"][0]["error"] == "kernel_failed"


async def test_a_failure_that_another_client_is_told_of_is_noticed():
    async with simulated(LONG) as octane, shown(octane) as probe:
        octane.slot.registrations[SimulatedKind.RENDER_FAILURE] = Registration(CallbackSlot.ELSEWHERE, 0, 1)
        octane.fail(wire.RENDER_ERROR_OSL)

        (failure,) = await eventually(lambda: said(probe, "render_failure"))
        assert failure["devices"][0]["error"] == "osl"


async def test_after_a_failure_there_is_neither_speed_nor_remaining_time():
    async with simulated(LONG) as octane, shown(octane) as probe:
        await eventually(lambda: "samples_per_second" in said(probe, "statistics")[-1])
        octane.fail(wire.RENDER_ERROR_KERNEL_FAILED)
        await eventually(lambda: said(probe, "statistics")[-1]["state"] == "stopped")

        assert not {"samples_per_second", "estimated_render_time"} & said(probe, "statistics")[-1].keys()


async def test_an_alpha_3_is_refused_with_what_it_takes():
    async with (
        simulated(replace(LONG, generation=OctaneGeneration.ALPHA_3)) as octane,
        watching(octane.address) as probe,
    ):
        await eventually(lambda: is_now(probe, status="refused"))

        assert "2026.1 Alpha 3" in latest(probe)["reason"] and "Alpha 5 or newer" in latest(probe)["reason"]
        await eventually(lambda: octane.calls["octaneVersion"] > 2)
        assert statuses(probe) == ["refused"]
        with pytest.raises(Reject, match="Alpha 5"):
            await probe.ask("pause")


@pytest.mark.slow
@pytest.mark.parametrize("render", ["rendering", "paused"])
async def test_a_slot_that_another_client_takes_every_second_is_contested_and_never_refused(render):
    async with simulated(LONG) as octane, shown(octane) as probe:
        if render == "paused":
            # Nothing comes on the stream then before it is taken.
            await probe.ask("pause")
        for _ in range(12):
            octane.strike(OctaneFault.SLOT)
            await asyncio.sleep(1.0)  # the pace of the other client, not a wait for this one

        await eventually(lambda: is_now(probe, status="connected", callback_slot="contested"))
        assert statuses(probe) == ["connected"]
    assert probe.crashes == []
