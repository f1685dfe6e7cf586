"""The V4L2 source on the kernel's driver vivid, in a virtual machine that is booted once for all checks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.actors.camera.sources.v4l2.in_machine import CHECKS
from tests.virtual import machine

# Two devices that capture: the first a webcam, the second with an HDMI input, which crops and scales.
VIVID = ("vivid", "n_devs=2 node_types=0x1,0x1 num_inputs=1,1 input_types=0x0,0x3 vid_cap_nr=0,1")
LOOPBACK = ("v4l2loopback", "devices=1 video_nr=2")


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the machine said of each check."""
    machine.needed(LOOPBACK[0])
    booted = machine.VirtualMachine(
        ["-m", "tests.actors.camera.sources.v4l2.in_machine"],
        [VIVID, LOOPBACK],
        folder=tmp_path_factory.mktemp("machine"),
    )
    lines = [json.loads(line) for line in booted.run(within=300).splitlines()]
    for line in lines:
        print(f"{line['seconds']:6.2f} s  {line['name']}: {line['result']}")
    return {line["name"]: line for line in lines}


@pytest.mark.slow
@pytest.mark.parametrize("name", [check.__name__ for check in CHECKS])
def test_v4l2_in_the_virtual_machine(name: str, answers: dict[str, dict[str, Any]]):
    assert name in answers, f"the machine said nothing of it; it said: {', '.join(answers)}"
    if fault := answers[name]["fault"]:
        pytest.fail(f"in the virtual machine:\n{fault}", pytrace=False)
