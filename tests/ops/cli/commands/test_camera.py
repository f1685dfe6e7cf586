"""`callboard camera`: what its words order."""

from __future__ import annotations

from typing import Any

import pytest

from ops.cli import camera
from ops.settings import Mistakes
from tests.ops.cli.commands.words import NOWHERE, run


@pytest.mark.parametrize(
    ("words", "command", "arguments"),
    [
        ("set fps 15", "set_fps", {"fps": 15}),
        ("set quality 60", "set_quality", {"quality": 60}),
        ("set gain 1.5", "set_control", {"name": "gain", "value": 1.5}),
        ("set mode night", "set_control", {"name": "mode", "value": "night"}),
        ("set auto_exposure", "set_control", {"name": "auto_exposure", "value": True}),
        ("record --seconds 60 --label lid", "start_recording", {"seconds": 60, "label": "lid"}),
        ("record", "start_recording", {}),
        ("stop", "stop_recording", {}),
        (
            "give set_region left=0 top=0 width=64 height=48",
            "set_region",
            {"left": 0, "top": 0, "width": 64, "height": 48},
        ),
    ],
)
def test_words_order_a_command(
    monkeypatch: pytest.MonkeyPatch, words: str, command: str, arguments: dict[str, Any]
) -> None:
    given: list[tuple[str, str, Any]] = []

    def note(_settings: object, instance: str, command: str, arguments: Any, *, json: bool) -> int:
        given.append((instance, command, arguments))
        return 0

    monkeypatch.setattr(camera, "run_command", note)
    run("camera", *words.split(), "--instance", "door", "--edge-url", NOWHERE)

    assert given == [("door", command, arguments)]


def test_an_argument_without_a_value_is_a_mistake() -> None:
    with pytest.raises(Mistakes, match="width needs a value"):
        run("camera", "give", "set_region", "width", "--edge-url", NOWHERE)
