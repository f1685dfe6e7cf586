"""`callboard rules`: checks, tests and back-tests alert rules."""

from __future__ import annotations

import argparse

from ops.cli.flags import Command, Parser, load
from ops.settings import Mistakes

_EXAMPLES = """\
examples:
  callboard rules check rules.yaml
  callboard rules test rules.yaml                          # the tests that stand beside the rules
  callboard rules test rules.yaml --events events.jsonl    # as `callboard tail --json` writes them
  callboard rules backtest rules.yaml --since 7d
  callboard rules backtest --live --since 2h --until 1h --json

tests stand in the rules file, under `tests` beside `rules`:
  tests:
    - name: a lab that gets hot
      events:                      # or --events FILE
        - {at: 0s, subject: metric.lab-1.temperature, data: {celsius: 91}}
      until: 10m                   # the clock at the end (the last event)
      expect:                      # all that happens; kind is firing, again or resolved
        - {at: 0s, rule: hot, key: metric.lab-1, value: 91}
        - {at: 5m, rule: hot, kind: resolved, reason: resolve_after}
"""


def declare(parser: Parser) -> None:
    """Adds the arguments."""
    parser.add_argument(
        "what",
        choices=["check", "test", "backtest"],
        help="check exits 1 where the file has mistakes, test where a test fails; backtest says what would have fired",
    )
    parser.add_argument("file", metavar="FILE", nargs="?", help="a rules file in YAML")
    parser.add_argument("--live", action="store_true", help="backtest: the rules that are in force instead of a file's")
    parser.add_argument("--events", metavar="FILE", help="test: the events, one JSON object a line, for tests without")
    parser.add_argument("--since", metavar="TIME", default="7d", help="backtest: from there: 7d, 2h, or RFC 3339 (7d)")
    parser.add_argument("--until", metavar="TIME", help="backtest: up to there (now)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.where_nats_is()


def run(given: argparse.Namespace) -> int:
    """Runs the command and returns its exit code."""
    from ops.cli.rules import run_backtest, run_check, run_tests

    if given.live == (given.file is not None) and (given.live or given.what == "backtest"):
        raise Mistakes([f"rules {given.what}: needs either FILE or --live"])
    if given.live and given.what != "backtest":
        raise Mistakes([f"rules {given.what}: --live is for backtest"])
    if given.file is None and not given.live:
        raise Mistakes([f"rules {given.what}: needs FILE"])
    if given.what == "check":
        return run_check(given.file, json=given.json)
    if given.what == "test":
        return run_tests(given.file, given.events, json=given.json)
    return run_backtest(load(given), given.file, given.since, given.until, json=given.json)


COMMAND = Command(
    "Checks alert rules, tests them by examples, or says what they would have fired in the past.",
    declare,
    run,
    examples=_EXAMPLES,
)
