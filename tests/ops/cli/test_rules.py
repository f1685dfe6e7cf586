"""`callboard rules`: mistakes with their places, tests of rules, and what would have fired."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ops.cli.rules import run_check, run_tests
from router.broker import Broker
from router.clock import wall
from router.event import Event
from router.rule_store import RuleStore, StoredRule
from tests.actors.alerts.readings import HOT, S
from tests.actors.alerts.test_ruletests import RULES, TESTS
from tests.ops.command import callboard
from tests.waiting import PATIENCE


def test_check_tells_each_mistake_with_its_place_and_ends_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.yaml").write_text(RULES + TESTS)
    (tmp_path / "bad.yaml").write_text(RULES.replace("celsius > 80", "celsius >") + TESTS.replace("until", "untill"))

    assert run_check(str(tmp_path / "good.yaml"), json=False) == 0
    assert "1 rules, no mistakes" in capsys.readouterr().out
    assert run_check(str(tmp_path / "bad.yaml"), json=False) == 1
    said = capsys.readouterr().err
    assert "bad.yaml:4:25: hot: when: Syntax error" in said and "is until meant?" in said
    assert run_check(str(tmp_path / "none.yaml"), json=True) == 1
    assert "cannot be read" in json.loads(capsys.readouterr().out)["mistakes"][0]["reason"]


def test_test_says_which_tests_pass_and_what_differs_in_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES + TESTS + "  - name: from a file\n    expect: [{at: 0s, rule: hot}]\n")
    (tmp_path / "e.jsonl").write_text('{"subject": "metric.a.temperature", "data": {"celsius": 99}, "at": "1s"}\n')

    assert run_tests(str(file), str(tmp_path / "e.jsonl"), json=False) == 1
    said = capsys.readouterr().out
    assert "passed  hot and cold" in said and "failed  from a file" in said and "at is another: at: 1s" in said
    (tmp_path / "e.jsonl").write_text('{"subject": "metric.a.temperature", "data": {"celsius": 99}}\n')
    assert run_tests(str(file), str(tmp_path / "e.jsonl"), json=True) == 0
    assert [each["differences"] for each in json.loads(capsys.readouterr().out)] == [[], []]


INTERRUPTED = """
import asyncio, signal, sys
from ops.cli import rules
from ops.settings import Settings
from router.event import Event

async def history(*_args):
    yield Event.new("metric.lab.temperature", {"celsius": 91})
    signal.raise_signal(signal.SIGINT)
    await asyncio.sleep(60)

rules.history = history
rules.run_backtest(Settings.load("alerts"), sys.argv[1], "1h", None, json=False)
"""


async def test_a_back_test_that_is_interrupted_says_what_it_has_found(tmp_path: Path, nats_server: str) -> None:
    (tmp_path / "rules.yaml").write_text(HOT)
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", INTERRUPTED, str(tmp_path / "rules.yaml")],
        env={**os.environ, "CALLBOARD_NATS_URL": nats_server},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert "lab is hot" in done.stdout and "1 events" in done.stdout, done.stderr
    assert "interrupted" in done.stderr and done.returncode != 0


async def test_a_back_test_says_what_a_file_would_have_fired_and_what_the_live_rules_would(
    tmp_path: Path, broker: Broker, nats_server: str, entity: str
) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(HOT.replace("cooldown", f"subjects: metric.{entity}.*\n    resolve_after: 30\n    cooldown"))
    begun = wall.now_ns() - 600 * S
    for at, celsius in ((0, 50), (10, 91), (20, 95), (90, 50)):
        subject = f"metric.{entity}.temperature"
        await broker.publish(Event.new(subject, {"celsius": celsius}, time_ns=begun + at * S, id=f"{entity}-{at}"))

    done = await asyncio.to_thread(
        callboard, "rules", "backtest", str(file), "--since", "1h", "--json", NATS_URL=nats_server
    )
    assert done.returncode == 0, done.stderr
    [fired] = json.loads(done.stdout)["fired"]
    assert (fired["rule"], fired["event"], fired["count"], fired["reason"]) == (
        "hot",
        f"{entity}-10",
        2,
        "resolve_after",
    )

    text = await asyncio.to_thread(callboard, "rules", "backtest", str(file), "--since", "1h", NATS_URL=nats_server)
    assert f"{entity} is hot" in text.stdout and "4 events" in text.stdout and "1 alerts (hot 1)" in text.stdout

    rule = StoredRule(
        name=f"mine-{entity[:20].lower()}",
        text=f"name: mine-{entity[:20].lower()}\nsubjects: metric.{entity}.*\nwhen: data.celsius < 60\n",
        version=1,
        created=1,
        updated=1,
    )
    await RuleStore(broker).create(rule)
    live = await asyncio.to_thread(
        callboard, "rules", "backtest", "--live", "--since", "1h", "--json", NATS_URL=nats_server
    )
    await RuleStore(broker).delete(rule.name)
    assert live.returncode == 0, live.stderr
    assert json.loads(live.stdout)["by_rule"][rule.name] == 1
