"""Tests of stages.py: which stage a line of a tool begins."""

from __future__ import annotations

import pytest

from ops.cli.progress import LineReader
from ops.cli.stages import read_stage


@pytest.mark.parametrize(
    ("line", "stage"),
    [
        ("::group::Build the wheels", "Build the wheels"),
        ("#7 [builder 2/5] RUN pip install .", "builder 2/5 RUN"),
        ("#5 [2/7] COPY . .", "2/7 COPY"),
        ("Step 3/10 : RUN make", "3/10 RUN"),
        ("Collecting numpy>=2", "Collecting"),
        ("Building wheels for collected packages: callboard", "Building wheels for collected packages"),
        ("Installing collected packages: numpy", "Installing collected packages"),
        ("   Compiling serde v1.0.1", "Compiling"),
        ("Unpacking nats (2.12) ...", "Unpacking"),
    ],
)
def test_tools_say_which_stage_they_are_in(line: str, stage: str) -> None:
    assert read_stage(line) == stage


@pytest.mark.parametrize("line", ["", "We are Collecting stamps", "Step by step", "Compiling", "#7 DONE 0.1s"])
def test_other_lines_begin_none(line: str) -> None:
    assert read_stage(line) is None


def test_progress_tells_the_stage_it_belongs_to_and_a_stage_how_far_all_is() -> None:
    reader = LineReader()

    told = [reader.feed(line)[1] for line in (b"::group::One\n", b"50%\n", b"nothing\n", b"::group::Two\n")]

    assert [(each.progress, each.stage) if each else None for each in told] == [
        (None, "One"), (0.5, "One"), None, (0.5, "Two"),
    ]  # fmt: skip
