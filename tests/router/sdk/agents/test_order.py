"""What a process reads in a request for a run."""

from __future__ import annotations

from router.sdk.agents.order import StartOrder


def test_an_order_without_an_incarnation_gets_one_of_its_own() -> None:
    one, other = StartOrder.read({"run": "a"}), StartOrder.read({"run": "a", "incarnation": "x-1", "domain": "job"})

    odd = StartOrder.read({"run": "a", "incarnation": "run.1:x"})

    assert odd.incarnation != "run.1:x"
    assert (one.domain, len(one.incarnation), one.input) == ("agent", 36, None)
    assert (other.domain, other.incarnation) == ("job", "x-1")
