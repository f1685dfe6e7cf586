"""The types of a dashboard: rows of panels, each a title, what it means, its unit, its queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Query(NamedTuple):
    """One line of a panel."""

    expr: str
    legend: str


@dataclass(frozen=True)
class Panel:
    """One panel. `about` is what a person who has never seen it needs to know."""

    title: str
    about: str
    unit: str
    queries: Sequence[Query]
    kind: str = "timeseries"
    stack: bool = False


@dataclass(frozen=True)
class Board:
    """One dashboard: rows of panels by their names."""

    uid: str
    title: str
    rows: Mapping[str, Sequence[Panel]]
    # The metric whose labels are the choices of the dashboard's variables.
    variables_of: str = "ops_build_info"


def line(title: str, about: str, unit: str, *queries: tuple[str, str], stack: bool = False) -> Panel:
    return Panel(title, about, unit, [Query(*query) for query in queries], stack=stack)


def stat(title: str, about: str, unit: str, expr: str, legend: str = "") -> Panel:
    return Panel(title, about, unit, [Query(expr, legend)], kind="stat")


def rate(metric: str, by: str = "") -> str:
    """The sum of a counter's rates."""
    return f"sum{f' by ({by}) ' if by else ''}(rate({metric}[$__rate_interval]))"


def quantile(share: float, metric: str, by: str = "") -> str:
    """A quantile over all processes, of a histogram given without `_bucket`."""
    name, brace, rest = metric.partition("{")
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share:g}, sum by ({labels}) (rate({name}_bucket{brace}{rest}[$__rate_interval])))"


def quantiles(metric: str) -> list[tuple[str, str]]:
    return [(quantile(share, metric), f"p{share * 100:g}") for share in (0.5, 0.95, 0.99)]


def most(metric: str, by: str) -> str:
    """What several processes say of the same thing, once."""
    return f"max by ({by}) ({metric})"
