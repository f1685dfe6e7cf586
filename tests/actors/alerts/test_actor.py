"""Alerts as they are raised: when, how often, for what, and how they end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from actors.alerts.actor import Alerts
from actors.system.probe import Probe
from router.alerts import act, confirm
from router.event import Event
from tests.actors.alerts.readings import HOT, START, ListedAlerts, S, probed, reading, said, told, written


async def test_an_event_that_matches_raises_an_alert_that_says_what_and_why(tmp_path: Path) -> None:
    async with probed(written(tmp_path, HOT)) as alerts:
        await alerts.receive(reading(79))
        await alerts.receive(reading(91.5, id="cause-1"))

        [(subject, data)] = alerts.emitted
        assert subject == "alert.hot.firing"
        assert data["title"] == "lab-1 is hot"
        assert data["message"] == "91.5 degrees, 1 times"
        assert (data["rule"], data["severity"], data["category"], data["entity"]) == (
            "hot",
            "warning",
            "general",
            "lab-1",
        )
        assert (data["value"], data["count"]) == (91.5, 1)
        assert (data["cause_subject"], data["cause_id"]) == ("metric.lab-1.temperature", "cause-1")
        assert data["since"] == "2027-01-15T08:00:00.000000Z"
        assert alerts.events[0].cause == "cause-1"


async def test_another_event_of_an_id_that_was_seen_is_no_repeat(tmp_path: Path) -> None:
    async with probed(written(tmp_path, HOT)) as alerts:
        await alerts.receive(reading(90, 0, id="1"))
        await alerts.receive(reading(91, 60, id="1"))

        assert [(data["value"], data["count"]) for _, data in alerts.emitted] == [(90, 1), (91, 2)]


async def test_a_cooldown_is_kept_per_key_and_by_the_events_own_times(tmp_path: Path) -> None:
    async with probed(written(tmp_path, HOT)) as alerts:
        await alerts.receive(reading(90, 0))
        await alerts.receive(reading(91, 59))
        await alerts.receive(reading(92, 59, host="lab-2"))
        await alerts.receive(reading(93, 60))

        assert [(data["entity"], data["count"]) for _, data in alerts.emitted] == [
            ("lab-1", 1),
            ("lab-2", 1),
            ("lab-1", 3),
        ]
        assert alerts.emitted[0][1]["alert"] == alerts.emitted[2][1]["alert"] != alerts.emitted[1][1]["alert"]


async def test_an_event_that_is_delivered_again_changes_nothing_and_counts_once(tmp_path: Path) -> None:
    async with probed(written(tmp_path, HOT)) as alerts:
        first = reading(90, 0)
        await alerts.receive(first)
        await alerts.receive(first, attempt=2)
        await alerts.receive(reading(90, 10))
        await alerts.receive(first, attempt=3)

        assert said(alerts) == ["alert.hot.firing"]
        assert [alert["count"] for alert in await alerts.ask("firing")] == [2]


async def test_after_a_restart_a_repeat_changes_nothing(tmp_path: Path) -> None:
    file, ledger = written(tmp_path, HOT + HOT.replace("rules:", "").replace("hot", "warm")), ListedAlerts()
    cause = reading(90)
    async with probed(file, alerts=ledger) as alerts:
        await alerts.receive(cause)
        assert said(alerts) == ["alert.hot.firing", "alert.warm.firing"]
    async with probed(file, alerts=ledger) as alerts:
        await alerts.receive(cause, attempt=2)
        assert said(alerts) == []
        await alerts.receive(reading(91, 60))
        assert said(alerts) == ["alert.hot.firing", "alert.warm.firing"]


async def test_an_event_from_the_future_does_not_mute_a_rule(tmp_path: Path) -> None:
    async with probed(written(tmp_path, HOT)) as alerts:
        await alerts.receive(reading(90, 10**9))
        await alerts.receive(reading(90, 0))

        assert said(alerts) == ["alert.hot.firing"] * 2


async def test_a_threshold_counts_matches_within_a_time(tmp_path: Path) -> None:
    async with probed(written(tmp_path, HOT + "    threshold: {count: 3, within: 10}\n")) as alerts:
        for at in (0, 4, 11, 15):
            await alerts.receive(reading(90, at))
        assert said(alerts) == []
        await alerts.receive(reading(90, 16))

        assert [data["count"] for _, data in alerts.emitted] == [3]


async def test_an_alert_is_resolved_by_its_condition_once(tmp_path: Path) -> None:
    async with probed(written(tmp_path, HOT + "    resolve_when: data.celsius < 70\n")) as alerts:
        await alerts.receive(reading(60, 0))
        await alerts.receive(reading(90, 1))
        await alerts.receive(reading(60, 2, host="lab-2"))
        await alerts.receive(reading(75, 3))
        await alerts.receive(reading(65, 4, id="cooled"))
        await alerts.receive(reading(65, 5))

        assert said(alerts) == ["alert.hot.firing", "alert.hot.resolved"]
        firing, resolved = (data for _, data in alerts.emitted)
        assert resolved["alert"] == firing["alert"]
        assert (resolved["reason"], resolved["cause_id"]) == ("resolve_when", "cooled")
        assert await alerts.ask("firing") == []


async def test_a_new_episode_within_the_cooldown_fires_at_once_and_has_a_new_id(tmp_path: Path) -> None:
    async with probed(
        written(tmp_path, HOT + "    resolve_when: data.celsius < 70\n"), lambda: START + 99 * S
    ) as alerts:
        for celsius, at in ((90, 0), (60, 1), (90, 2), (90, 61), (90, 62)):
            await alerts.receive(reading(celsius, at))

        assert said(alerts) == ["alert.hot.firing", "alert.hot.resolved", "alert.hot.firing", "alert.hot.firing"]
        first, second, again = (alerts.emitted[place][1] for place in (0, 2, 3))
        assert first["alert"] != second["alert"] == again["alert"]
        assert (second["count"], again["count"]) == (1, 3)


async def test_a_camera_that_fails_twice_within_the_cooldown_fires_twice_by_the_rules_that_are_shipped() -> None:
    async with probed(now=lambda: START + 9 * S) as alerts:
        for at, status in enumerate(("failed", "running", "failed")):
            await alerts.receive(
                Event.new("camera.zz.state", {"status": status}, time_ns=START + 2 * at * S, id=str(at))
            )

        assert said(alerts) == [f"alert.camera_failed.{state}" for state in ("firing", "resolved", "firing")]
        assert [alert["count"] for alert in await alerts.ask("firing")] == [1]


async def test_an_alert_is_resolved_after_a_time_without_a_match(tmp_path: Path) -> None:
    now = START
    file = written(tmp_path, HOT + "    resolve_after: 30\n")
    async with probed(file, lambda: now) as alerts:
        await alerts.receive(reading(90, 0))
        await alerts.receive(reading(90, 10))
        now = START + 39 * S
        await alerts.tick()
        assert said(alerts) == ["alert.hot.firing"]
        now = START + 40 * S
        await alerts.tick()
        await alerts.tick()

        assert said(alerts) == ["alert.hot.firing", "alert.hot.resolved"]
        assert alerts.emitted[1][1]["reason"] == "resolve_after"
        assert alerts.emitted[1][1]["count"] == 2


async def test_entity_and_key_are_what_the_rule_says(tmp_path: Path) -> None:
    text = (
        HOT
        + '    entity: \'"host " + entity\'\n    key: "{data.room}"\n    actions: [{label: go, url: "/r/{data.room}"}]\n'
    )
    async with probed(written(tmp_path, text)) as alerts:
        await alerts.receive("metric.a.temperature", {"celsius": 90, "room": "../x y"})
        await alerts.receive("metric.b.temperature", {"celsius": 90, "room": "../x y"})

        [(_, data)] = alerts.emitted
        assert (data["entity"], data["key"]) == ("host a", "../x y")
        assert data["actions"] == [{"label": "go", "url": "/r/..%2Fx%20y"}]


async def test_a_run_and_a_job_of_one_name_have_an_alert_each() -> None:
    async with probed() as alerts:
        await alerts.receive("agent.x.completion", {"success": False, "error": "a"})
        await alerts.receive("job.x.completion", {"success": False, "error": "b"})
        await alerts.receive("job.x.completion", {"success": True})

        assert [(subject, data["key"]) for subject, data in alerts.emitted] == [
            ("alert.run_failed.firing", "agent.x"),
            ("alert.run_failed.firing", "job.x"),
            ("alert.run_failed.resolved", "job.x"),
        ]
        assert alerts.events[2].key == alerts.events[1].key == alerts.emitted[1][1]["alert"]


async def test_an_escaped_entity_is_shown_as_it_was_meant(tmp_path: Path) -> None:
    async with probed(written(tmp_path, HOT)) as alerts:
        await alerts.receive("metric.a=2Eb.temperature", {"celsius": 90})

        assert alerts.emitted[0][1]["entity"] == "a.b"


async def test_what_alerts_say_themselves_raises_no_alert(tmp_path: Path) -> None:
    file = written(tmp_path, "rules:\n  - {name: all, when: 'true', cooldown: 0}\n")
    async with probed(file) as alerts:
        await alerts.receive("alert.hot.firing", {"rule": "hot"})
        await alerts.receive("alert.hot.resolved", {"rule": "hot"})
        await alerts.receive("system.alerts.rules_rejected", {})
        await alerts.receive("alert._alice.hot.acknowledged", {"rule": "hot"})
        assert said(alerts) == []
        await alerts.receive("alert.hot.noted", {"rule": "hot"})

        assert said(alerts) == ["alert.all.firing"]


async def test_the_shipped_rules_tell_of_a_failed_run_and_not_of_one_that_was_cancelled() -> None:
    async with probed() as alerts:
        await alerts.receive("agent.run-1.completion", {"success": True})
        await alerts.receive("agent.run-2.completion", {"success": False, "status": "cancelled", "error": "stopped"})
        await alerts.receive("agent.run-3.completion", {"success": False, "error": "out of memory"})
        await alerts.receive("job.job-4.completion", {"success": False, "exit_code": 1})

        assert [(subject, data["title"]) for subject, data in alerts.emitted] == [
            ("alert.run_failed.firing", "run-3 failed"),
            ("alert.run_failed.firing", "job-4 failed"),
        ]
        assert alerts.emitted[0][1]["message"] == "out of memory"


async def test_the_shipped_rules_tell_of_a_camera_and_of_its_return() -> None:
    async with probed() as alerts:
        await alerts.receive("camera.main.state", {"status": "failed", "reason": "unplugged"})
        await alerts.receive("camera.main.state", {"status": "streaming", "reason": None})
        await alerts.receive("octane.main.render_failure", {"reason": "no memory left"})
        await alerts.receive("system.webhook.deadlettered", {"session_id": "s1", "reason": "exhausted", "attempts": 9})

        assert said(alerts) == [
            "alert.camera_failed.firing",
            "alert.camera_failed.resolved",
            "alert.render_failed.firing",
            "alert.webhook_dead_letter.firing",
        ]


async def looked_twice(alerts: Probe) -> None:
    """A changed file is read at the second look, where it is as it was at the first one."""
    await alerts.tick()
    await alerts.tick()


async def test_a_new_file_takes_effect_and_ends_what_no_rule_stands_for(tmp_path: Path) -> None:
    file = written(tmp_path, HOT)
    async with probed(file) as alerts:
        await alerts.receive(reading(90))
        written(tmp_path, HOT.replace("hot", "warm").replace("80", "30"))
        await looked_twice(alerts)
        await alerts.receive(reading(40))

        assert said(alerts) == [
            "alert.hot.firing",
            "system.alerts.rules_loaded",
            "alert.hot.resolved",
            "alert.warm.firing",
        ]
        assert [rule["name"] for rule in await alerts.ask("rules")] == ["warm"]


async def test_a_broken_file_keeps_the_old_rules_and_its_mistakes_are_told_once(tmp_path: Path) -> None:
    file = written(tmp_path, HOT)
    async with probed(file) as alerts:
        written(tmp_path, "rules:\n  - {name: hot, when: 'foo'}\n  - {when: 'true'}\n")
        await alerts.tick()
        await alerts.tick()
        await alerts.receive(reading(90))
        assert said(alerts) == ["system.alerts.rules_rejected", "alert.hot.firing"]
        assert len(alerts.emitted[0][1]["mistakes"]) == 2
        assert alerts.emitted[0][1]["mistakes"][0].startswith("rules.yaml:2:24: hot: when: unknown variable 'foo'")

        file.unlink()
        await alerts.tick()
        await alerts.tick()
        assert said(alerts)[2:] == ["system.alerts.rules_rejected"]
        written(tmp_path, HOT)
        await looked_twice(alerts)
        assert said(alerts)[3:] == ["system.alerts.rules_loaded"]


async def test_a_file_that_is_being_written_ends_no_alert(tmp_path: Path) -> None:
    file = written(tmp_path, HOT + HOT.replace("rules:", "").replace("hot", "warm"))
    async with probed(file) as alerts:
        await alerts.receive(reading(90))
        written(tmp_path, HOT)  # the half of it, and a valid file
        await alerts.tick()
        written(tmp_path, HOT + HOT.replace("rules:", "").replace("hot", "tepid"))
        await alerts.tick()
        await alerts.tick()
        assert [data["rule"] for name, data in alerts.emitted if name.endswith(".resolved")] == ["warm"]
        for text in ("", "# nothing\n", "rules:\n"):
            written(tmp_path, text)
            await looked_twice(alerts)
            assert "`rules: []` says that there shall be none" in alerts.emitted[-1][1]["mistakes"][0]
        assert [rule["name"] for rule in await alerts.ask("rules")] == ["hot", "tepid"]


async def test_a_file_that_is_not_there_at_the_start_is_told_and_awaited(tmp_path: Path) -> None:
    async with probed(tmp_path / "rules.yaml") as alerts:
        await alerts.tick()
        assert "cannot be read" in alerts.emitted[0][1]["mistakes"][0]

        written(tmp_path, HOT)
        await looked_twice(alerts)
        await alerts.receive(reading(90))

        assert said(alerts)[1:] == ["system.alerts.rules_loaded", "alert.hot.firing"]


async def test_all_that_fires_is_known_again_after_a_restart_and_resolves(tmp_path: Path) -> None:
    file, ledger = written(tmp_path, HOT + "    resolve_when: data.celsius < 70\n"), ListedAlerts()
    async with probed(file, alerts=ledger) as alerts:
        for host in ("a", "b", "c", "d", "e"):
            await alerts.receive(reading(90, 0, host=host))
        began = {data["key"]: data["alert"] for data in told(alerts)}
    async with probed(file, alerts=ledger) as alerts:
        assert {alert["key"]: alert["alert"] for alert in await alerts.ask("firing")} == began
        await alerts.receive(reading(90, 30, host="a"))
        assert said(alerts) == [], "the cooldown is kept"
        for host in ("a", "b", "c", "d", "e"):
            await alerts.receive(reading(60, 31, host=host))

        assert said(alerts) == ["alert.hot.resolved"] * 5
        assert {data["key"]: data["alert"] for data in told(alerts)} == began
    async with probed(file, alerts=ledger) as alerts:
        assert await alerts.ask("firing") == []


async def test_after_a_restart_what_has_no_rule_any_more_ends_but_not_where_the_rules_cannot_be_read(
    tmp_path: Path,
) -> None:
    ledger = ListedAlerts()
    async with probed(written(tmp_path, HOT), alerts=ledger) as alerts:
        await alerts.receive(reading(90))
    async with probed(written(tmp_path, "rules: nonsense"), alerts=ledger) as alerts:
        await alerts.tick()
        assert said(alerts) == ["system.alerts.rules_rejected"]
    async with probed(written(tmp_path, HOT.replace("hot", "warm")), alerts=ledger) as alerts:
        assert said(alerts) == ["alert.hot.resolved"]
        assert told(alerts)[0]["reason"] == "rule_removed"


def by_hand(ledger: ListedAlerts, alerts: Probe, what: str, at: float, until: float = 0) -> None:
    """What a person does to the one alert, as the watch of its bucket reports it."""
    [(entry, record)] = ledger.known.items()
    done = act(record, what, "alice", START + int(at * S), until=START + int(until * S))
    ledger.known[entry] = confirm(done, done.outbox)
    assert isinstance(alerts.actor, Alerts)
    alerts.actor._record_changed(ledger.known[entry], entry)


async def test_a_snoozed_alert_fires_again_when_its_time_is_over_and_not_where_it_ended(tmp_path: Path) -> None:
    now, ledger = START, ListedAlerts()
    file = written(tmp_path, HOT + "    resolve_when: data.celsius < 70\n")
    async with probed(file, lambda: now, ledger) as alerts:
        await alerts.receive(reading(90, 0))
        by_hand(ledger, alerts, "snooze", 1, until=100)
        await alerts.receive(reading(95, 70))
        now = START + 99 * S
        await alerts.tick()
        assert said(alerts) == ["alert.hot.firing"]
        now = START + 100 * S
        await alerts.tick()
        assert [(data["state"], data["value"]) for data in told(alerts)[1:]] == [("firing", 95)]

        by_hand(ledger, alerts, "snooze", 101, until=200)
        await alerts.receive(reading(60, 150))
        now = START + 200 * S
        await alerts.tick()
        assert said(alerts)[2:] == ["alert.hot.resolved"]


async def test_a_snooze_outlives_a_restart(tmp_path: Path) -> None:
    now, file, ledger = START, written(tmp_path, HOT), ListedAlerts()
    async with probed(file, lambda: now, ledger) as alerts:
        await alerts.receive(reading(90, 0))
        by_hand(ledger, alerts, "snooze", 1, until=100)
    async with probed(file, lambda: now, ledger) as alerts:
        await alerts.receive(reading(90, 70))
        await alerts.tick()
        assert said(alerts) == []
        now = START + 100 * S
        await alerts.tick()
        assert said(alerts) == ["alert.hot.firing"]


async def test_a_dismissed_alert_is_silent_until_it_is_resolved_and_then_may_fire_anew(tmp_path: Path) -> None:
    ledger = ListedAlerts()
    file = written(tmp_path, HOT + "    resolve_when: data.celsius < 70\n")
    async with probed(file, lambda: START + 400 * S, ledger) as alerts:
        await alerts.receive(reading(90, 0))
        by_hand(ledger, alerts, "dismiss", 1)
        await alerts.receive(reading(91, 100))
        await alerts.receive(reading(92, 200))
        await alerts.receive(reading(60, 201))
        await alerts.receive(reading(93, 300))

        assert said(alerts) == ["alert.hot.firing", "alert.hot.resolved", "alert.hot.firing"]


async def test_what_a_person_resolved_fires_anew_as_soon_as_its_rule_matches_again(tmp_path: Path) -> None:
    ledger = ListedAlerts()
    async with probed(written(tmp_path, HOT), alerts=ledger) as alerts:
        await alerts.receive(reading(90, 0))
        by_hand(ledger, alerts, "resolve", 10)
        await alerts.receive(reading(90, 11))

        first, second = told(alerts)
        assert (first["state"], second["state"], second["count"]) == ("firing", "firing", 1)
        assert first["alert"] != second["alert"]


async def test_an_alert_with_an_audience_is_told_to_each_of_them(tmp_path: Path) -> None:
    async with probed(written(tmp_path, HOT + "    audience: [alice, bob@x.org]\n")) as alerts:
        await alerts.receive(reading(90))

        assert said(alerts) == ["alert._alice.hot.firing", "alert._bob=40x=2Eorg.hot.firing"]


async def test_no_event_however_odd_crashes_the_actor(tmp_path: Path) -> None:
    file = written(tmp_path, HOT.replace("data.celsius > 80", "has(data.x) || data.celsius > 80"))
    odd: list[dict[str, Any]] = [
        {},
        {"x": None},
        {"celsius": "hot"},
        {"x": [[]] * 99, "celsius": 2**63},
        {"x": "\u202e" * 9999},
    ]
    async with probed(file) as alerts:
        for place, data in enumerate(odd):
            event = Event.new(f"metric.h{place}.temperature", data, time_ns=(-1) ** place * 10 ** (4 * place))
            assert await alerts.receive(event) == "acked"

        assert not alerts.crashes


async def test_what_came_while_the_actor_was_away_is_not_missed(tmp_path: Path) -> None:
    now = START
    text = "rules:\n  - {name: quiet, absence: 20s, title: x}\n"
    async with probed(written(tmp_path, text), lambda: now) as alerts:
        await alerts.receive(reading(1, 0))
        # It is frozen for ten minutes; what was stored meanwhile comes now, one after the other.
        now = START + 600 * S
        for at in range(10, 600, 10):
            alerts.behind = START + at * S
            await alerts.tick()
            await alerts.receive(reading(1, at))
        alerts.behind = None
        await alerts.tick()
        assert said(alerts) == []
        now = START + 611 * S
        await alerts.tick()
        assert said(alerts) == ["alert.quiet.firing"]
