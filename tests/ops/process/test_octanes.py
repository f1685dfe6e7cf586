"""Which Octanes `callboard up` watches, and with which processes."""

from __future__ import annotations

import pytest

from ops.environment import RawValue
from ops.process.banner import hints
from ops.process.octanes import OctanePlace, configured_octanes
from ops.process.parts import chosen
from ops.settings import Mistakes, Settings


def made(*sections: str, **variables: str) -> Settings:
    flags = {f"CALLBOARD_{name}": RawValue(text, "flag", name) for name, text in variables.items()}
    return Settings.load(*sections, flags=flags, adopt=())


def test_each_octane_has_a_process_of_its_own_and_main_the_usual_one() -> None:
    settings = made(OCTANES="left=10.0.0.5:51022,main=127.0.0.1:51022")

    assert configured_octanes(settings) == {
        "octane-left": OctanePlace("left", "10.0.0.5:51022"),
        "octane": OctanePlace("main", "127.0.0.1:51022"),
    }
    # Real Octanes need no simulated one beside them.
    assert chosen(settings) == ["edge", "octane-left", "octane", "camera", "agent", "alerts", "metrics"]


def test_without_any_there_is_the_one_of_always() -> None:
    assert configured_octanes(made()) == {}
    assert {"octane", "simulator"} <= set(chosen(made()))


def test_octanes_are_left_out_with_the_actor() -> None:
    assert chosen(made(OCTANES="left=10.0.0.5:51022", UP_ONLY="edge,alerts")) == ["edge", "alerts"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("left", "NAME=HOST:PORT"),
        ("left=10.0.0.5", "NAME=HOST:PORT"),
        ("left=:51022", "NAME=HOST:PORT"),
        ("left=host:70000", "NAME=HOST:PORT"),
        ("le.ft=host:51022", "NAME=HOST:PORT"),
        ("left=a:1,left=b:2", "two Octanes of the name left"),
        (",".join(f"o{number}=host:51022" for number in range(17)), "at most 16"),
    ],
)
def test_an_octane_that_cannot_be_is_a_mistake(text: str, why: str) -> None:
    with pytest.raises(Mistakes, match=why):
        configured_octanes(made(OCTANES=text))


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(Mistakes) as told:
        configured_octanes(made(OCTANES="one,two"))

    assert "'one'" in str(told.value) and "'two'" in str(told.value)


def test_one_octane_is_not_set_in_two_ways() -> None:
    with pytest.raises(Mistakes, match="CALLBOARD_OCTANE_ADDRESS is set, too"):
        configured_octanes(made(OCTANES="left=host:51022", OCTANE_ADDRESS="host:51022"))


def test_the_banner_names_the_pictures_of_each(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("CALLBOARD_RUNTIME_DIR", str(tmp_path / "register"))
    settings = made("identity", OCTANES="main=a:1,left=b:2")
    rows = hints(settings, ["edge", "octane", "octane-left"], tmp_path, "http://e", "nats://n", None)

    assert [how for what, how in rows if what == "render"] == [
        "http://e/octane/main/mjpeg",
        "http://e/octane/left/mjpeg",
    ]
