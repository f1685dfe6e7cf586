"""What a process reads in a request for a run. How turns go on: test_server.py."""

from __future__ import annotations

from router.sdk import RunSettings
from router.sdk.agents.turn import StartOrder, for_agents


def test_an_order_without_an_incarnation_gets_one_of_its_own() -> None:
    one, other = StartOrder.read({"run": "a"}), StartOrder.read({"run": "a", "incarnation": "x-1", "domain": "job"})

    odd = StartOrder.read({"run": "a", "incarnation": "run.1:x"})

    assert odd.incarnation != "run.1:x"
    assert (one.domain, len(one.incarnation), one.input) == ("agent", 36, None)
    assert (other.domain, other.incarnation) == ("job", "x-1")


def test_no_run_of_an_agent_is_revived() -> None:
    assert for_agents(None) == RunSettings(revive=False)
    assert for_agents(RunSettings(ttl=3, raise_on_stop=True)) == RunSettings(ttl=3, revive=False)
