"""Which cameras `callboard up` runs, and with which processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.cli.commands.up import COMMAND
from ops.cli.flags import Parser, load
from ops.environment import RawValue
from ops.process.banner import hints
from ops.process.cameras import CameraPlace, configured_cameras
from ops.process.parts import chosen
from ops.settings import Mistakes, Settings


def made(*sections: str, **variables: str) -> Settings:
    flags = {f"CALLBOARD_{name}": RawValue(text, "flag", name) for name, text in variables.items()}
    return Settings.load(*sections, flags=flags, adopt=())


def flagged(*words: str) -> Settings:
    parser = Parser(prog="callboard up")
    COMMAND.declare(parser)
    return load(parser.parse_args(words), adopt=())


def test_each_camera_has_a_process_of_its_own_and_main_the_usual_one() -> None:
    settings = made(CAMERAS="door=rtsp://u:hush@10.0.0.7/one?a=1,main=sim:card")

    assert configured_cameras(settings) == {
        "camera-door": CameraPlace("door", "rtsp://u:hush@10.0.0.7/one?a=1"),
        "camera": CameraPlace("main", "sim:card"),
    }
    assert chosen(settings) == ["edge", "octane", "camera-door", "camera", "agent", "alerts", "metrics", "simulator"]
    assert "hush" not in repr(configured_cameras(settings))


def test_without_any_there_is_the_one_of_always() -> None:
    assert configured_cameras(made()) == {}
    assert "camera" in chosen(made())


def test_cameras_are_left_out_with_the_actor() -> None:
    assert chosen(made(CAMERAS="door=sim:card", UP_ONLY="edge,alerts")) == ["edge", "alerts"]


@pytest.mark.parametrize("address", ["http://cam/video?res=1,b=2", "a,b.mp4"])
def test_an_address_given_by_flag_or_on_a_line_of_its_own_may_have_commas(address: str) -> None:
    cameras = {
        "camera-door": CameraPlace("door", address),
        "camera-bench": CameraPlace("bench", "sim:card"),
    }

    assert configured_cameras(flagged("--camera", f"door={address}", "--camera", "bench=sim:card")) == cameras
    assert configured_cameras(flagged("--camera", f"door={address}")).keys() == {"camera-door"}
    assert configured_cameras(made(CAMERAS=f"door={address}\nbench=sim:card\n")) == cameras


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("rtsp://u:hush@cam/one", "needs NAME=ADDRESS"),
        ("door=rtsp://u:hush@cam/one,two", "a comma in an address is written %2C"),
        ("door=", "needs NAME=ADDRESS"),
        ("do.or=sim:card", "needs NAME=ADDRESS"),
        ("door=rtmp://u:hush@cam", "door: source rtmp: is of no known kind"),
        ("door=sim:card,door=clip.mp4", "two cameras of the name door"),
        (",".join(f"c{number}=sim:card" for number in range(17)), "at most 16"),
    ],
)
def test_a_camera_that_cannot_be_is_a_mistake_told_without_secrets(text: str, why: str) -> None:
    with pytest.raises(Mistakes, match=why) as told:
        configured_cameras(made(CAMERAS=text))

    assert "hush" not in str(told.value)


def test_one_camera_is_not_set_in_two_ways() -> None:
    with pytest.raises(Mistakes, match="CALLBOARD_CAMERA_SOURCE is set, too"):
        configured_cameras(made(CAMERAS="door=sim:card", CAMERA_SOURCE="sim:card"))


def test_settings_show_no_secret_of_an_address() -> None:
    settings = made("camera", CAMERAS="door=rtsp://u:hush@cam/hush?token=hush", CAMERA_SOURCE="http://u:hush@cam/hush")
    rows = {row.variable: row.value for row in settings.rows()}

    assert rows["CALLBOARD_CAMERAS"] == ("door=rtsp://***@cam/…",)
    assert rows["CALLBOARD_CAMERA_SOURCE"] == "http://***@cam/…"


def test_a_wrong_source_is_told_without_its_secrets() -> None:
    with pytest.raises(Mistakes) as told:
        made("camera", CAMERA_SOURCE="rtsp://u:hush@cam/hush?token=hush&transport=carrier")

    assert str(told.value).startswith("CAMERA_SOURCE=rtsp://***@cam/…: source rtsp: transport must be tcp or udp")
    assert "hush" not in str(told.value)


def test_the_banner_names_the_pictures_of_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_RUNTIME_DIR", str(tmp_path / "register"))
    settings = made("identity", CAMERAS="main=rtsp://u:hush@cam/one,left=sim:card")
    rows = hints(settings, ["edge", "camera", "camera-left"], tmp_path, "http://e", "nats://n", None)

    assert [how for what, how in rows if what == "camera"] == [
        "http://e/cameras/main/mjpeg",
        "http://e/cameras/left/mjpeg",
    ]
    assert "hush" not in str(rows)
