"""Which producers are alive, by their leases."""

from __future__ import annotations

from actors.agent.producers import LeaseWatch


def test_a_vigil_gives_each_lease_its_time_twice() -> None:
    leases = LeaseWatch()
    leases.saw("a", 10, now=0)
    leases.saw("b", 10, now=0)
    leases.saw("b", None, now=2)
    leases.saw("unknown", None, now=2)

    assert leases.lost(12) == [] and leases.lost(12.1) == ["b"] and leases.lost(20.1) == ["a", "b"]
    leases.forgive(20)
    assert leases.lost(40) == [] and len(leases) == 2
