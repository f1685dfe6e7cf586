"""One rule at work: how many keys it watches."""

from __future__ import annotations

from pathlib import Path

from tests.actors.alerts.readings import HOT, probed, reading, written


async def test_only_so_many_keys_are_remembered_and_a_forgotten_alert_is_ended(tmp_path: Path) -> None:
    async with probed(written(tmp_path, HOT), keys=2) as alerts:
        for host in ("a", "b", "a", "c"):
            await alerts.receive(reading(90, host=host))

        assert [(subject, data["entity"]) for subject, data in alerts.emitted] == [
            ("alert.hot.firing", "a"),
            ("alert.hot.firing", "b"),
            ("alert.hot.resolved", "b"),
            ("alert.hot.firing", "c"),
        ]
        assert {alert["entity"] for alert in await alerts.ask("firing")} == {"a", "c"}
