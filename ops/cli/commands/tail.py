"""`callboard tail`: follows events."""

from __future__ import annotations

import argparse

from ops.cli.flags import Command, Parser, load

_EXAMPLES = """\
examples:
  callboard tail '>'
  callboard tail 'agent.run-42.>' 'alert.>' --last 20
  callboard tail 'camera.*.statistics' --since 10m --json
  callboard tail '>' --filter 'type == "progress" && data.progress > 0.5'
"""


def declare(parser: Parser) -> None:
    """Adds the arguments."""
    parser.add_argument("patterns", metavar="PATTERN", nargs="+", help="such as 'agent.run-42.>' or 'camera.*.state'")
    parser.add_argument("--since", metavar="TIME", help="begin there: 10m, 2h, or RFC 3339")
    parser.add_argument("--last", metavar="N", help="begin with the last N events; `all` for every one kept")
    parser.add_argument("--type", metavar="TYPE", action="append", help="only these types")
    parser.add_argument("--filter", metavar="CEL", help="only events for which this holds")
    parser.add_argument("--count", metavar="N", type=int, help="end after N events")
    parser.add_argument("--no-follow", action="store_true", help="end where the past ends")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    parser.where_nats_is()


def run(given: argparse.Namespace) -> int:
    """Runs the command and returns its exit code."""
    from ops.cli.tail import TailRequest, run_tail

    request = TailRequest(
        tuple(given.patterns),
        since=given.since,
        last=given.last,
        types=tuple(given.type or ()),
        filter=given.filter,
        count=given.count,
        follow=not given.no_follow,
        json=given.json,
    )
    return run_tail(load(given), request)


COMMAND = Command(
    "Follows events: first those asked for from the past, then the new ones, none missing between.",
    declare,
    run,
    examples=_EXAMPLES,
)
