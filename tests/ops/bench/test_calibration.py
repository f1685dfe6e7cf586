"""The fixed piece of work that says how fast a machine is."""

from __future__ import annotations

from ops.bench.calibration import Calibration, calibrate, row


def test_it_takes_time_and_no_less_by_the_clock() -> None:
    found = calibrate()

    assert found.cpu > 0 and found.stretch >= 0.9


def test_a_row_says_how_busy_the_machine_was_with_other_things() -> None:
    said = row("versus", [Calibration(5.0, 1.0), Calibration(7.0, 2.5), Calibration(6.0, 1.5)])

    assert said.figure == 6.0 and said.unit == "ms CPU"
    assert said.note.startswith("1.50 times as long by the clock, 2.5 at worst")
