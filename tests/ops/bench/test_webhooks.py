"""The figures of the webhooks benchmark."""

from __future__ import annotations

from ops.bench.webhooks import WebhookRun, _row, _slowest


def test_the_slowest_hundredth_is_that_of_all_runs_together() -> None:
    runs = [{"ages": [float(n) for n in range(100)]}, {"ages": [1000.0] + [0.0] * 99}]

    assert _slowest(runs) == 99.0


def test_a_row_has_rates_and_what_a_cpu_second_brings() -> None:
    row = _row("signed", [WebhookRun(100.0, 50.0, {"edge": 1.0}), WebhookRun(300.0, 70.0, {"edge": 2.0})])

    assert (row.figure, row.per_cpu, row.busy) == (200.0, [50.0, 70.0], {"edge": 1.5})
