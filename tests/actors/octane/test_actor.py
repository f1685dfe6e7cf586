"""The Octane actor under the Probe, against the simulator over real gRPC."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from PIL import Image

from actors.octane.actor import Octane, OctaneSettings
from actors.octane.simulator.simulator import SimulatedKind
from protos import octane_types_pb2 as wire
from router.broker import Broker
from router.nats.embedded import free_port
from router.states import StateEntry, StateStore
from tests.actors.octane.simulation import LONG, simulated
from tests.actors.octane.watching import latest, pictures, said, statuses, watching
from tests.actors.system.running import running_actor
from tests.waiting import eventually


@pytest.mark.parametrize(
    "address", ["", "localhost", ":1", "localhost:0", "localhost:65536", "localhost:²", "a:" + "9" * 5000]
)
def test_an_address_without_a_host_or_a_port_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"^address must be host:port, as in 127\.0\.0\.1:51022$"):
        OctaneSettings(address=address)


async def test_a_render_is_seen_from_its_first_sample_to_its_last():
    async with simulated(replace(LONG, rest=600.0)) as octane, watching(octane.address) as probe:
        probe.set_viewers("octane", "main", 1)
        # It goes on until some pictures were seen, however long that takes here, and is done a moment later.
        await eventually(lambda: len(pictures(probe)) > 3)
        last_sample = octane.render.max_samples = octane.render.samples + 20
        await eventually(lambda: any(each["state"] == "finished" for each in said(probe, "statistics")))
        await eventually(lambda: any(header["samples"] == last_sample for header in pictures(probe).values()))

        state = latest(probe)
        assert state["since"] <= state["picture_since"]
        assert {name: value for name, value in state.items() if not name.endswith("since")} == {
            "status": "connected",
            "picture": "live",
            "address": octane.address,
            "name": "Callboard simulator of Octane",
            "version": "15.0.0.8",
            "simulated": True,
        }
        samples = [header["samples"] for header in pictures(probe).values()]
        assert samples == sorted(set(samples)) and len(samples) > 3
        last = said(probe, "statistics")[-1]
        assert (last["samples"], last["max_samples"], last["progress"], last["width"], last["height"]) == (
            last_sample,
            last_sample,
            1,
            48,
            27,
        )
        assert {event.key for event in probe.events if event.type == "statistics"} == {"main"}

    subject, header, body = probe.frames[-1]
    assert subject == "frame.octane.main.beauty"
    assert (
        header.items()
        >= {"source": "simulated", "simulated": True, "format": "jpeg", "max_samples": last_sample}.items()
    )
    shown = Image.open(io.BytesIO(body))
    assert (shown.format, shown.size) == ("JPEG", (header["width"], header["height"])) and shown.size == (48, 27)
    # The loud padding beyond the width did not get in.
    assert max(shown.resize((1, 1)).getpixel((0, 0))) < 240
    assert statuses(probe) == ["connected", "absent"]
    assert (latest(probe)["picture"], latest(probe)["reason"]) == ("stale", "the octane actor was stopped")
    assert octane.grabs > 0


async def test_with_nobody_watching_there_is_one_picture_to_begin_with_and_all_of_them_for_a_viewer():
    async with simulated(LONG) as octane, watching(octane.address, idle_fps=0.01) as probe:
        await eventually(lambda: probe.frames)
        await eventually(lambda: octane.statistics_asked > 4)
        assert len(pictures(probe)) == 1

        probe.set_viewers("octane", "main", 1)
        await eventually(lambda: len(pictures(probe)) > 5)

        probe.set_viewers("octane", "main", 0)
        seen, asked = len(pictures(probe)), octane.statistics_asked
        await eventually(lambda: octane.statistics_asked > asked + 3)
        assert len(pictures(probe)) <= seen + 1


async def test_an_octane_that_was_killed_is_back_when_it_is_back():
    port = free_port()
    async with watching(f"127.0.0.1:{port}") as probe:
        probe.set_viewers("octane", "main", 1)
        await eventually(lambda: statuses(probe) == ["absent"])

        async with simulated(replace(LONG, port=port)):
            await eventually(lambda: len(pictures(probe)) > 2)
        await eventually(lambda: statuses(probe) == ["absent", "connected", "absent"])
        assert said(probe, "state")[-1]["reason"]
        before = max(pictures(probe))

        async with simulated(replace(LONG, port=port)) as again:
            await eventually(lambda: max(pictures(probe)) > before + 2)
            assert SimulatedKind.NEW_IMAGE in again.registered

    assert statuses(probe) == ["absent", "connected", "absent", "connected", "absent"]
    assert probe.crashes == []


async def test_leaving_closes_the_stream_and_takes_the_registrations_back():
    async with simulated(LONG) as octane:
        async with watching(octane.address):
            await eventually(lambda: octane.listeners and len(octane.registered) == 3)

        await eventually(lambda: not octane.listeners and not octane.registered)


async def test_a_failed_render_is_told_with_its_reason():
    async with simulated(LONG) as octane, watching(octane.address) as probe:
        await eventually(lambda: octane.listeners)
        octane.fail(wire.RENDER_ERROR_KERNEL_FAILED)

        (failure,) = await eventually(lambda: said(probe, "render_failure"))

        assert "the simulator was told to fail" in failure["reason"]
        assert failure["devices"][0]["error"] == "kernel_failed"
        await eventually(lambda: any(each["state"] == "stopped" for each in said(probe, "statistics")))


async def test_a_changed_project_is_told():
    async with simulated(LONG) as octane, watching(octane.address) as probe:
        await eventually(lambda: octane.listeners)
        octane.reset()

        assert await eventually(lambda: said(probe, "project_changed")) == [{"project": "simulated/balls.ocs"}]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"address": "localhost"}, "address"),
        ({"address": "127.0.0.1:99999"}, "address"),
        ({"quality": 0}, "quality"),
        ({"max_fps": 0.0}, "max_fps"),
        ({"idle_fps": float("nan")}, "idle_fps"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(change, name):
    with pytest.raises(ValueError, match=name):
        OctaneSettings(**change)


async def test_its_state_is_kept_with_its_life_and_says_at_the_end_that_it_is_gone(broker: Broker, entity: str):
    store = StateStore(broker)

    async def kept() -> StateEntry | None:
        return (await store.read("octane", entity)).entry

    address = f"127.0.0.1:{free_port()}"
    async with running_actor(lambda: Octane(OctaneSettings(address=address, reconnect=0.2)), broker, instance=entity):
        while_it_lives = await eventually(kept)
    ended = await eventually(kept)

    assert (while_it_lives.status, while_it_lives.gone, while_it_lives.data["address"]) == ("absent", None, address)
    assert ended.life == while_it_lives.life and ended.gone.reason == "the actor was stopped"
