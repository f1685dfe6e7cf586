"""Which producers are alive, by their leases."""

from __future__ import annotations

from actors.agent.leases import Lease, LeaseWatch


def lost(leases: LeaseWatch, now: float) -> list[str]:
    return [key for key, _ in leases.take_lost(now)]


def test_a_lease_that_ran_out_is_lost_after_its_grace() -> None:
    leases = LeaseWatch()
    leases.saw("a", Lease(10), now=0)
    leases.saw("b", Lease(10), now=0)
    leases.saw("c", Lease(2), now=0)
    leases.saw("b", None, now=2)
    leases.saw("unknown", None, now=2)

    assert lost(leases, 3.1) == ["c"]
    assert lost(leases, 7) == [] and lost(leases, 7.1) == ["b"] and lost(leases, 15.1) == ["a"]
    assert len(leases) == 0


def test_what_was_missed_while_nats_was_away_proves_nothing() -> None:
    leases = LeaseWatch()
    leases.saw("a", Lease(10), now=0)

    leases.forgive(20)

    assert lost(leases, 35) == [] and lost(leases, 35.1) == ["a"]


def test_each_life_of_a_run_has_its_own_lease() -> None:
    leases = LeaseWatch()
    leases.saw("a", Lease(10, "old"), now=0)
    leases.saw("a", Lease(10, "new", "http"), now=8)

    held = leases.of("a", "new")
    assert held and held.via == "http" and leases.of("a", None) == held
    assert leases.take_lost(16) == [("a", Lease(10, "old"))]
    assert leases.of("a", "old") is None and "a" in leases


def test_a_lease_is_expected_only_where_none_was_seen() -> None:
    leases = LeaseWatch()
    leases.saw("a", Lease(10, "one"), now=0)

    leases.expect("a", Lease(99, "one"), now=5)
    leases.expect("b", Lease(10, "one"), now=5)

    assert lost(leases, 15.1) == ["a"] and lost(leases, 20.1) == ["b"]
