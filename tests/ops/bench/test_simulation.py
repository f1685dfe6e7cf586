"""The arithmetic of the simulation of a large installation."""

from __future__ import annotations

import json
import sys
from dataclasses import fields, replace

import pytest

from ops.bench import simulation
from ops.bench.simulation import (
    SOURCES,
    Costs,
    SimulatedLoad,
    edge_work,
    edges_needed,
    forecast,
    lines,
    reach,
    utilisation,
)

LOAD = SimulatedLoad(connections=1000, events=100.0, edges=4, audience=2, skew=1.0, heartbeat=10.0, ping=20.0)
COSTS = Costs(
    wake=1e-3,
    event=1e-4,
    write=1e-5,
    delivery=1e-6,
    publish=2e-4,
    publish_batched=5e-5,
    open=1e-3,
    store=1e-5,
    copy=1e-6,
    shard=1e-5,
    edge_memory=1e6,
    connection_memory=1e3,
    socket_memory=2e3,
)


def test_readers_at_random_edges_are_spread_by_chance() -> None:
    assert reach(LOAD) == pytest.approx([9 / 16, 6 / 16, 1 / 16])
    assert reach(replace(LOAD, together=True)) == [0.75, 0.0, 0.25]
    assert reach(replace(LOAD, edges=1)) == [0.0, 0.0, 1.0]


def test_an_audience_may_be_larger_than_numbers_are() -> None:
    chances = reach(replace(LOAD, audience=100_000, edges=50))

    assert sum(chances) == pytest.approx(1.0) and chances[0] == 0.0


def test_an_edge_gets_its_share_and_the_fullest_the_skew_of_it() -> None:
    work = edge_work(LOAD, COSTS)

    assert (work.connections, work.publishes, work.publish_cost) == (250, 25, 2e-4)
    assert work.events == pytest.approx(100 * 7 / 16)
    # 2 of 100 events a second each, to a quarter of 1,000 connections.
    assert work.events * work.mean_readers == pytest.approx(100 * 2 / 4)
    # 25 heartbeats, and 6.25 pings with as many pongs, by the half that are WebSockets.
    assert work.background == pytest.approx((25 + 12.5) * 1e-5)
    assert edge_work(replace(LOAD, skew=2.0), COSTS).events == pytest.approx(2 * work.events)


def test_what_is_published_past_the_edges_costs_them_nothing() -> None:
    assert edge_work(replace(LOAD, published="sdk"), COSTS).publishes == 0
    assert edge_work(replace(LOAD, published="batches"), COSTS).publish_cost == 5e-5


def test_the_utilisation_is_the_sum_of_what_everything_costs() -> None:
    expected = 25 * 2e-4 + 43.75 * 1e-4 + 50 * 1.1e-5 + 37.5e-5

    assert utilisation(edge_work(LOAD, COSTS), COSTS) == pytest.approx(expected)


def test_the_fewest_edges_are_used_less_than_the_target_and_one_less_is_not_enough() -> None:
    load = replace(LOAD, events=20_000.0, connections=100_000)
    found = edges_needed(load, COSTS)

    assert found is not None and found > 1
    assert utilisation(edge_work(replace(load, edges=found), COSTS), COSTS) <= 0.7
    assert utilisation(edge_work(replace(load, edges=found - 1), COSTS), COSTS) > 0.7


def test_no_number_of_edges_is_enough_where_one_event_is_too_much() -> None:
    assert edges_needed(LOAD, replace(COSTS, publish=1e4)) is None


def test_the_whole_is_added_up() -> None:
    whole = forecast(LOAD, COSTS)

    assert whole.copies == pytest.approx(4 * 7 / 16)
    assert whole.edge_bytes == 1e6 + 250 * 3e3 and whole.total_bytes == 4e6 + 1000 * 3e3
    assert whole.edge_cores == pytest.approx(4 * whole.edge_utilisation)
    # Stored three times, and sent to those edges that have a reader.
    assert whole.nats_cores == pytest.approx(100 * (3e-5 + 1.75e-6))
    assert whole.shards == 1 and whole.shard_utilisation == pytest.approx(1e-3)
    assert whole.recovery_seconds == pytest.approx(250 / 3 * 1e-3 / (1 - whole.edge_utilisation))


def test_events_are_spread_over_as_many_shards_as_their_leaders_need() -> None:
    whole = forecast(replace(LOAD, events=150_000.0), COSTS)

    assert whole.shards == 3 and whole.shard_utilisation == pytest.approx(0.5)
    # Two more than one.
    assert whole.edge.event_cost == pytest.approx(1.2e-4) and whole.edge.publish_cost == pytest.approx(2.2e-4)
    assert whole.recovery_seconds is None


def test_the_same_seed_has_the_same_result_and_the_latency_holds_all_hops() -> None:
    first, second = (simulation.simulated(LOAD, COSTS, seconds=5, seed=3) for _ in range(2))

    assert first == second and first.latency is not None
    # Publish and delivery, each with a wake-up, and six ways of 0.2 ms.
    assert 0.0012 + 2 * 1e-3 < first.latency["p50"] <= first.latency["p99"] <= first.latency["p99.9"]
    past = simulation.simulated(replace(LOAD, published="sdk"), COSTS, seconds=5, seed=3)
    assert past.latency is not None and past.latency["p50"] < first.latency["p50"] - 1e-3


def test_the_report_names_each_assumption_with_its_source() -> None:
    assert set(SOURCES) == {each.name for each in fields(Costs)}
    said = "\n".join(lines(simulation.simulated(LOAD, COSTS, seconds=2, seed=1)))

    assert all(source in said for source in SOURCES.values())
    assert "1,000 connections, 100 events/s to 2 readers each (at random edges), published by http, 4 edges" in said
    assert "publish to receive p50 " in said


def test_an_overload_is_said_and_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["simulation", "--edges", "2", "--seconds", "1"])

    assert simulation.main() == 1
    said = capsys.readouterr().out
    assert "grows without end" in said and "never brought back" in said


def test_costs_and_loads_are_options(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    options = (
        "--connections 100 --events 10 --edges 2 --audience 3 --published sdk --seconds 1 --cost-event 0.001 --json"
    )
    monkeypatch.setattr(sys, "argv", ["simulation", *options.split()])

    assert simulation.main() == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["load"]["audience"], found["costs"]["event"], found["run"]["overloaded"]) == (3, 0.001, False)


@pytest.mark.parametrize("option", ["--edges", "--connections", "--seconds", "--audience"])
def test_what_makes_no_sense_is_refused(
    option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["simulation", option, "0"])

    with pytest.raises(SystemExit):
        simulation.main()
    assert f"{option} must be more than 0" in capsys.readouterr().err
