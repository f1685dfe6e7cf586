"""Checks, tests and back-tests alert rules on the command line."""

from __future__ import annotations

import asyncio
import contextlib
import json as jsonlib
import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from actors.alerts.actor import AlertsSettings
from actors.alerts.backtest import BacktestReport, backtest, history, nanoseconds
from actors.alerts.parser import MAX_FILE, parse, read
from actors.alerts.rulebook import SHIPPED, RuleBook
from actors.alerts.rules import BadRules, Mistake, Rule
from actors.alerts.ruletests import read_events, read_tests, run_test
from actors.alerts.scope import written
from ops.cli.interruptible import run_interruptibly
from ops.process.logs import configure_quiet
from ops.settings import Mistakes, Settings
from ops.terminal import Paint, safe, table
from ops.values import seconds
from router.broker import Broker
from router.rule_store import RuleStore

# What a page shows; --json shows all that are listed.
MAX_SHOWN = 200


def run_check(file: str, *, json: bool) -> int:
    """Prints the mistakes of a rules file and its tests, or how many rules it has."""
    mistakes: list[Mistake] = []
    rules: tuple[Rule, ...] = ()
    try:
        rules = read(Path(file))
    except BadRules as fault:
        mistakes = fault.mistakes
    with contextlib.suppress(OSError):
        try:
            read_tests(Path(file).read_bytes()[:MAX_FILE], Path(file).name)
        except BadRules as fault:
            mistakes += [each for each in fault.mistakes if each not in mistakes]
    if json:
        print(jsonlib.dumps({"rules": len(rules), "mistakes": [each.describe() for each in mistakes]}, indent=2))
    elif mistakes:
        print("\n".join(safe(str(each)) for each in mistakes), file=sys.stderr)
    else:
        print(f"{file}: {len(rules)} rules, no mistakes")
    return 1 if mistakes else 0


def run_tests(file: str, events: str | None, *, json: bool) -> int:
    """Runs the tests that stand in a rules file. Raises Mistakes."""
    try:
        raw = Path(file).read_bytes()
        rules, tests = parse(raw, Path(file).name), read_tests(raw, Path(file).name)
        given = read_events(Path(events).read_text().splitlines(), Path(events).name) if events else []
    except (OSError, UnicodeDecodeError) as fault:
        raise Mistakes([f"rules test: {fault}"]) from None
    except BadRules as fault:
        raise Mistakes([str(each) for each in fault.mistakes]) from None
    if not tests:
        raise Mistakes([f"rules test: {file} has no tests; write some under `tests:` beside its rules"])
    if events is None and (without := [test.name for test in tests if test.events is None]):
        raise Mistakes([f"rules test: {without[0]!r} has no events of its own; name a file with --events"])
    results = {test.name: run_test(rules, test, given) for test in tests}
    if json:
        print(jsonlib.dumps([{"test": name, "differences": found} for name, found in results.items()], indent=2))
    else:
        paint = Paint.of(sys.stdout)
        for name, found in results.items():
            print(f"{paint('failed', 'red') if found else paint('passed', 'green')}  {safe(name)}")
            for difference in found:
                print(f"        {safe(difference)}")
    return 1 if any(results.values()) else 0


def run_backtest(settings: Settings, file: str | None, since: str, until: str | None, *, json: bool) -> int:
    """Prints what rules would have fired between two moments; after Ctrl-C, up to where it was. Raises Mistakes or BrokerError."""
    configure_quiet(settings.log)
    try:
        first, last = _moment(since, "--since"), _moment(until, "--until") if until else datetime.now(UTC)
        rules = None if file is None else read(Path(file))
    except BadRules as fault:
        raise Mistakes([str(each) for each in fault.mistakes]) from None
    if first >= last:
        raise Mistakes(["rules backtest: --since must be before --until"])
    growing: list[BacktestReport] = []
    try:
        _print(run_interruptibly(_backtest(settings, rules, first, last, growing.append)), json)
    except KeyboardInterrupt:
        if growing:
            _print(growing[0], json)
            print("callboard: interrupted; what came later was not looked at", file=sys.stderr)
        raise
    return 0


def _print(report: BacktestReport, json: bool) -> None:
    if json:
        print(jsonlib.dumps(report.describe(), indent=2, default=str))
    else:
        _show(report)


async def _backtest(
    settings: Settings,
    rules: tuple[Rule, ...] | None,
    first: datetime,
    last: datetime,
    begun_with: Callable[[BacktestReport], None],
) -> BacktestReport:
    """`begun_with` is given the report that grows, at the beginning."""
    async with Broker(settings.broker, "rules", settings.topology) as broker:
        chosen = await live_rules(settings, broker) if rules is None else list(rules)
        begun = time.monotonic()

        def told(report: BacktestReport) -> None:
            if not report.events:
                begun_with(report)
            if sys.stderr.isatty() and report.last is not None:
                rate = report.events / max(0.001, time.monotonic() - begun)
                text = f"{report.events} events up to {written(report.last)[:19]}, {report.total} alerts, {rate:.0f}/s"
                print(f"\r{text}", end="", file=sys.stderr, flush=True)

        events = history(broker, chosen, first, last)
        report = await backtest(chosen, events, until=nanoseconds(last), progress=told)
        if sys.stderr.isatty() and report.events:
            print("\r\033[K", end="", file=sys.stderr)
        return report


async def live_rules(settings: Settings, broker: Broker) -> list[Rule]:
    """The rules in force: those of the alerts actor's file, and those that were made by the API. Raises Mistakes."""
    named = settings.section("alerts")
    file = named.rules_file if isinstance(named, AlertsSettings) else None
    book = RuleBook(Path(file) if file else SHIPPED)
    book.look()
    try:
        book.take_file(book.load())
    except BadRules as fault:
        raise Mistakes([str(each) for each in fault.mistakes]) from None
    store = RuleStore(broker)
    following = asyncio.ensure_future(store.run())
    try:
        stored = {rule.name: rule for rule in await store.all()}
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
    book.take_stored(book.read_stored(stored), stored)
    for mistake in book.mistakes_of_api:
        print(f"callboard: not in force: {safe(mistake)}", file=sys.stderr)
    return book.rules


def _moment(text: str, flag: str) -> datetime:
    if re.fullmatch(r"[\d.]+(ms|[smhdw])(\d+(ms|[smhdw]))*", text):
        return datetime.fromtimestamp(time.time() - seconds(text), UTC)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Mistakes([f"rules backtest {flag} {text}: needs a time such as 7d or 2026-11-26T10:00:00Z"]) from None
    return found if found.tzinfo else found.astimezone()


def _show(report: BacktestReport) -> None:
    paint = Paint.of(sys.stdout)
    rows = [
        (
            written(each.at)[:19],
            each.severity,
            each.rule,
            safe(each.key),
            safe(each.title),
            str(each.count),
            "still fires" if each.resolved is None else f"{written(each.resolved)[:19]} {each.reason}",
            each.event or "",
        )
        for each in report.fired[:MAX_SHOWN]
    ]
    if rows:
        print(table(rows, ("fires", "severity", "rule", "key", "title", "count", "resolved", "first event"), paint))
    if len(report.fired) > MAX_SHOWN:
        print(f"and {report.total - MAX_SHOWN} more; --json lists up to {len(report.fired)}")
    read_up = f" from {written(report.first)[:19]} to {written(report.last or 0)[:19]}" if report.first else ""
    by_rule = ", ".join(f"{name} {count}" for name, count in report.by_rule.items() if count)
    print(f"{report.events} events{read_up}: {report.total} alerts{f' ({by_rule})' if by_rule else ''}")
    for count, what in ((report.late, "events came later than their rules allow"), (report.faults, "faults of rules")):
        if count:
            print(f"{count} {what}")
