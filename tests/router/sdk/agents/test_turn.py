"""How runs of agents publish. How turns go on: test_server.py."""

from __future__ import annotations

from router.sdk import RunSettings
from router.sdk.agents.turn import for_agents


def test_no_run_of_an_agent_is_revived() -> None:
    assert for_agents(None) == RunSettings(revive=False)
    assert for_agents(RunSettings(ttl=3, raise_on_stop=True)) == RunSettings(ttl=3, revive=False)
