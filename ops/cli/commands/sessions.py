"""`callboard sessions`: lists the sessions."""

from __future__ import annotations

import argparse

from ops.cli.flags import Command, Parser, load

_EXAMPLES = """\
examples:
  callboard sessions
  callboard sessions --edge-url http://127.0.0.1:9000 --json
"""


def declare(parser: Parser) -> None:
    """Adds the arguments."""
    parser.where_the_edge_is()
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(given: argparse.Namespace) -> int:
    """Runs the command and returns its exit code."""
    from ops.cli.sessions import run_sessions

    return run_sessions(load(given, "edge"), json=given.json)


COMMAND = Command("Lists the sessions that the edge knows.", declare, run, examples=_EXAMPLES)
