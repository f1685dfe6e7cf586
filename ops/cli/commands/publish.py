"""`callboard publish`: publishes events."""

from __future__ import annotations

import argparse

from ops.cli.flags import Command, Parser, load

_EXAMPLES = """\
examples:
  callboard publish agent.run-42.progress '{"progress": 0.4}'
  jq -c '.[]' readings.json | callboard publish metric.lab.read -
  cat events.ndjson | callboard publish -          # each line: {"subject": …, "data": {…}}
"""


def declare(parser: Parser) -> None:
    """Adds the arguments."""
    parser.add_argument(
        "subject", metavar="SUBJECT", help="such as agent.run-42.progress; - reads whole events as lines"
    )
    parser.add_argument("data", metavar="JSON", nargs="?", help="the data, a JSON object; - reads one from each line")
    parser.add_argument("--type", metavar="TYPE", help="the type; without it the last token of the subject")
    parser.add_argument("--key", metavar="KEY", help="events of one key supersede each other")
    parser.add_argument("--test", action="store_true", help="mark as a test")
    parser.add_argument("--json", action="store_true", help="print one JSON object for each event")
    parser.where_nats_is()


def run(given: argparse.Namespace) -> int:
    """Runs the command and returns its exit code."""
    from ops.cli.publish import PublishRequest, run_publish

    request = PublishRequest(given.subject, given.data, given.type, given.key, given.test, given.json)
    return run_publish(load(given), request)


COMMAND = Command(
    "Says events; returns once they are stored.",
    declare,
    run,
    usage="publish SUBJECT [JSON | -] [OPTIONS]",
    examples=_EXAMPLES,
)
