"""Tests of ops/cli/commands/simulate.py: what its flags set, and what it says while it runs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from actors.octane.simulator.faults import OctaneFault
from actors.octane.simulator.settings import OctaneGeneration
from ops.cli.commands.simulate import COMMAND
from ops.cli.flags import Parser, load
from ops.process.roles import simulate_octane
from ops.settings import Mistakes, Settings
from tests.waiting import eventually


def settings_of(*flags: str) -> Settings:
    parser = Parser()
    COMMAND.declare(parser)
    return load(parser.parse_args(["octane", *flags]), "simulator")


def test_each_flag_sets_what_it_says(tmp_path: Path) -> None:
    given = settings_of(
        "--generation", "alpha-3", "--hdr", "--mono", "--alpha", "--pass-ids", "--passes", "3", "--devices", "2",
        "--images-per-second", "60", "--save-directory", str(tmp_path), "--chaos", "slot,unknown-status",
        "--chaos-every", "5", "--chaos-lasts", "2", "--chaos-seed", "7",
    ).section("simulator")  # fmt: skip

    assert given.generation is OctaneGeneration.ALPHA_3
    assert (given.hdr, given.half, given.mono, given.alpha, given.pass_ids) == (True, False, True, True, True)
    assert (given.passes, given.devices, given.images_per_second, given.save_directory) == (3, 2, 60.0, tmp_path)
    assert given.chaos == (OctaneFault.SLOT, OctaneFault.UNKNOWN_STATUS)
    assert (given.chaos_every, given.chaos_lasts, given.chaos_seed) == (5.0, 2.0, 7)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--chaos", "sabotage"), "--chaos=sabotage"),
        (("--generation", "gamma"), "--generation=gamma"),
        (("--passes", "99"), "passes must be 1 to 8"),
        (("--hdr", "--half"), "hdr and half exclude each other"),
    ],
)
def test_what_cannot_be_is_refused_by_its_flag(flags: tuple[str, ...], words: str) -> None:
    with pytest.raises(Mistakes, match=words):
        settings_of(*flags)


async def test_it_says_which_fault_it_shows(capsys: Any) -> None:
    flags = ("--port", "0", "--width", "32", "--height", "18", "--chaos", "hang", "--chaos-every", "0.1")
    stop, said = asyncio.Event(), ""
    running = asyncio.create_task(simulate_octane(settings_of(*flags), stop))

    def printed() -> bool:
        nonlocal said
        said += capsys.readouterr().err
        return "The simulated Octane shows a fault: hang for 8 s" in said

    await eventually(printed)
    stop.set()
    await running
