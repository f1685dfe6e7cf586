"""The queries that panels are made of."""

from __future__ import annotations

from ops.dashboards.panel import most, quantile, quantiles, rate


def test_a_rate_is_summed_over_all_processes_or_by_a_label() -> None:
    assert rate("edge_events_total") == "sum(rate(edge_events_total[$__rate_interval]))"
    assert rate("edge_events_total", "kind") == "sum by (kind) (rate(edge_events_total[$__rate_interval]))"


def test_a_quantile_keeps_the_labels_that_select_and_those_it_is_split_by() -> None:
    assert quantile(0.99, "edge_seconds") == (
        "histogram_quantile(0.99, sum by (le) (rate(edge_seconds_bucket[$__rate_interval])))"
    )
    assert quantile(0.5, 'edge_seconds{way="sse"}', "way") == (
        'histogram_quantile(0.5, sum by (le, way) (rate(edge_seconds_bucket{way="sse"}[$__rate_interval])))'
    )


def test_three_quantiles_are_named_as_such() -> None:
    assert [legend for _, legend in quantiles("edge_seconds")] == ["p50", "p95", "p99"]


def test_what_several_processes_say_of_one_thing_counts_once() -> None:
    assert most("edge_lag", "stream") == "max by (stream) (edge_lag)"
