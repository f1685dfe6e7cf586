"""Prints measurements as one table, or as JSON for scripts."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ReportRow:
    """One thing that was measured: a figure of each run, and who was how busy meanwhile. No runs: it was left out, see `note`."""

    part: str
    what: str
    unit: str = ""
    runs: Sequence[float] = ()
    # What one CPU-second of the edge brings; of each run.
    per_cpu: Sequence[float] = ()
    # Share of one core, by process: the median of the runs.
    busy: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    @property
    def figure(self) -> float | None:
        return statistics.median(self.runs) if self.runs else None


def number(value: float) -> str:
    """Three digits that say something, and commas between thousands."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def middle(runs: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The median of each value over runs that have the same names."""
    known = list(runs)
    return {name: statistics.median(run[name] for run in known) for name in known[0]}


HEAD = f"{'':60}{'median':>14} {'':10}{'lowest–highest':>22}{'per edge CPU-s':>16}  busy, share of a core"


def line(row: ReportRow) -> str:
    """One row of the table."""
    figure = row.figure
    if figure is None:
        return f"{row.what:60}{'–':>14}  {row.note}"
    span = f"{number(min(row.runs))}–{number(max(row.runs))}" if len(row.runs) > 1 else ""
    cost = number(statistics.median(row.per_cpu)) if row.per_cpu else ""
    busy = " ".join(f"{name} {share:.0%}" for name, share in row.busy.items())
    return "  ".join(
        (f"{row.what:60}{number(figure):>14} {row.unit:10}{span:>22}{cost:>16}", *filter(None, (busy, row.note)))
    )


def as_json(rows: Iterable[ReportRow]) -> str:
    return json.dumps([{**dataclasses.asdict(row), "median": row.figure} for row in rows], ensure_ascii=False, indent=1)
