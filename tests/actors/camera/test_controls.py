"""What a command sets is checked, set in the source, read back, published, kept over restarts, and set again at each opening."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from actors.camera.actor import Camera
from actors.camera.settings import CameraSettings
from actors.camera.sources.address import SourceAddress, SourceSettings
from actors.camera.sources.control import Control, ControlValue
from actors.camera.sources.source import CameraSource
from actors.system.actor import Reject
from actors.system.probe import Probe
from tests.actors.camera.scripted import Script, Scripted, status
from tests.waiting import eventually


class Device(Scripted):
    """A source with a gain in whole steps, a choice, and a button that changes the gain."""

    def __init__(self, script: Rig) -> None:
        super().__init__(script)
        self._rig = script

    def controls(self) -> list[Control]:
        rig = self._rig
        controls = [
            Control("gain", "number", rig.gain, 0, rig.most, 1, "dB"),
            Control("mode", "choice", rig.mode, choices=("day", "night")),
            Control("auto_exposure", "button"),
        ]
        return [control for control in controls if control.name not in rig.lacks]

    def set_control(self, name: str, value: ControlValue) -> ControlValue:
        rig = self._rig
        rig.set.append((name, value))
        if rig.broken:
            raise OSError(5, "/dev/video0: secret")
        if name == "gain":
            assert isinstance(value, (int, float))
            rig.gain = round(value)
            return rig.gain
        if name == "mode":
            rig.mode = str(value)
        else:
            rig.gain = 3
        return value


class Rig(Script):
    """What the openings of one device share."""

    def __init__(self) -> None:
        super().__init__()
        self.gain, self.mode, self.most = 1, "day", 24
        self.lacks: set[str] = set()
        self.set: list[tuple[str, ControlValue]] = []
        self.broken = False

    def source(self, address: SourceAddress, settings: SourceSettings) -> CameraSource:
        return Device(self)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def controls(camera: Probe) -> list[Mapping[str, Any]]:
    return [data for subject, data in camera.emitted if subject == "camera.main.controls"]


async def streaming(camera: Probe) -> None:
    camera.set_viewers("camera", "main", 1)
    await eventually(lambda: status(camera) == "streaming")


async def test_the_effective_value_is_answered_and_published(rig: Rig) -> None:
    async with rig.camera() as camera:
        await streaming(camera)
        answer = await camera.ask("set_control", name="gain", value=5.4)

        assert answer["applied"] is True
        assert answer["controls"]["gain"] == {
            "kind": "number", "value": 5, "least": 0, "most": 24, "step": 1, "unit": "dB", "choices": [],
        }  # fmt: skip
        await eventually(lambda: controls(camera)[-1]["controls"]["gain"]["value"] == 5)
        assert controls(camera)[-1]["revision"] == answer["revision"] > controls(camera)[0]["revision"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": "gain", "value": 25}, "gain must be a number from 0 to 24 dB"),
        ({"name": "mode", "value": "dusk"}, "mode must be one of day, night"),
        (
            {"name": "zoom", "value": 2},
            "the source has no control 'zoom'; it has auto_exposure, gain, mode",
        ),
    ],
)
async def test_what_the_source_does_not_take_is_refused_and_changes_nothing(
    rig: Rig, arguments: dict[str, Any], said: str
) -> None:
    async with rig.camera() as camera:
        await streaming(camera)
        with pytest.raises(Reject) as refused:
            await camera.ask("set_control", **arguments)

    assert str(refused.value) == said
    assert rig.set == [] and camera.remembered == {} and not camera.crashes


async def test_what_the_source_fails_to_set_is_told_without_the_text_of_its_library(rig: Rig) -> None:
    async with rig.camera() as camera:
        await streaming(camera)
        rig.broken = True
        with pytest.raises(Reject, match=r"^the source failed to set gain$"):
            await camera.ask("set_control", name="gain", value=2)


async def test_a_command_to_an_idle_camera_opens_nothing_and_is_set_at_the_next_opening(rig: Rig) -> None:
    async with rig.camera() as camera:
        answer = await camera.ask("set_control", name="gain", value=7)
        assert answer["applied"] is False and "next watched" in answer["note"]
        assert rig.opened == 0

        await streaming(camera)
        assert (rig.gain, rig.set) == (7, [("gain", 7)])
        await eventually(lambda: controls(camera)[-1]["controls"]["gain"]["value"] == 7)


async def test_what_was_set_is_set_again_after_a_restart_and_checked_while_idle(rig: Rig) -> None:
    async with rig.camera() as camera:
        await streaming(camera)
        await camera.ask("set_control", name="gain", value=7)
        await camera.ask("set_fps", fps=12)
        await camera.ask("set_quality", quality=50)
        kept = camera.remembered
    rig.gain, rig.set = 1, []

    restarted = rig.camera()
    restarted.remembered = kept
    async with restarted as camera:
        told = await camera.ask("describe")
        assert (told["fps"], told["quality"], told["controls"]["gain"]["value"]) == (12.0, 50, 7)
        with pytest.raises(Reject, match="from 0 to 24"):
            await camera.ask("set_control", name="gain", value=99)
        assert rig.set == []
        await streaming(camera)
        assert rig.gain == 7


async def test_a_kept_value_that_the_device_takes_no_more_is_left_out_and_told(rig: Rig) -> None:
    async with rig.camera() as camera:
        await streaming(camera)
        await camera.ask("set_control", name="gain", value=20)
        await camera.ask("set_control", name="mode", value="night")
        kept = camera.remembered
    rig.gain, rig.mode, rig.most, rig.set = 1, "day", 6, []

    restarted = rig.camera()
    restarted.remembered = kept
    async with restarted as camera:
        await streaming(camera)
        await eventually(
            lambda: controls(camera)[-1].get("refused") == {"gain": "gain must be a number from 0 to 6 dB"}
        )
        assert rig.set == [("mode", "night")]


async def test_a_setting_that_was_changed_since_counts_more_than_what_was_kept(rig: Rig) -> None:
    async with rig.camera(fps=20.0) as camera:
        await camera.ask("set_fps", fps=12)
        kept = camera.remembered

    for configured, effective in ((20.0, 12.0), (25.0, 25.0)):
        restarted = rig.camera(fps=configured)
        restarted.remembered = kept
        async with restarted as camera:
            assert (await camera.ask("describe"))["fps"] == effective


async def test_a_button_is_pressed_and_what_it_changed_is_kept(rig: Rig) -> None:
    async with rig.camera() as camera:
        await streaming(camera)
        await camera.ask("set_control", name="gain", value=9)
        answer = await camera.ask("auto_exposure")
        assert answer["controls"]["gain"]["value"] == 3
        assert camera.remembered["controls"]["values"] == {"gain": 3}


async def test_reset_gives_back_what_the_source_had_at_first(rig: Rig) -> None:
    async with rig.camera(fps=30.0) as camera:
        await streaming(camera)
        await camera.ask("set_control", name="gain", value=9)
        await camera.ask("set_fps", fps=5)
        answer = await camera.ask("reset_controls")

        assert (answer["fps"], answer["controls"]["gain"]["value"], rig.gain) == (30.0, 1, 1)
        assert camera.remembered["controls"]["values"] == {}


async def test_the_test_card_changes_with_its_controls() -> None:
    async with Probe(lambda: Camera(CameraSettings(fps=60, width=320, height=240))) as camera:
        await streaming(camera)

        async def shown() -> np.ndarray[Any, Any]:
            seen = len(camera.frames)
            await eventually(lambda: len(camera.frames) > seen + 2)
            return np.asarray(Image.open(BytesIO(camera.frames[-1][2])))

        before = (await shown()).mean()
        await camera.ask("set_control", name="exposure", value=0.005)
        assert (await shown()).mean() < before / 2
        await camera.ask("auto_exposure")
        assert abs((await shown()).mean() - before) < 8
        await camera.ask("set_region", left=11, top=20, width=101, height=80)
        assert (await shown()).shape[:2] == (80, 100)
        await camera.ask("clear_region")
        assert (await shown()).shape[:2] == (240, 320)
        answer = await camera.ask("set_control", name="size", value={"width": 640, "height": 360})
        assert answer["controls"]["size"]["value"] == {"width": 640, "height": 360}
        assert (await shown()).shape[:2] == (360, 640)
        with pytest.raises(Reject, match="reaches beyond"):
            await camera.ask("set_region", left=600, top=0, width=100, height=100)
        assert not camera.crashes


async def test_a_source_without_controls_says_so() -> None:
    script = Script()
    async with script.camera() as camera:
        await streaming(camera)
        with pytest.raises(Reject, match="it has none"):
            await camera.ask("auto_exposure")
        with pytest.raises(Reject, match="no region"):
            await camera.ask("clear_region")
