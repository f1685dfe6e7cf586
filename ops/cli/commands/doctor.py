"""`callboard doctor`: checks the whole system."""

from __future__ import annotations

import argparse

from ops.cli.flags import Command, Parser, load

_EXAMPLES = """\
examples:
  callboard doctor
  callboard doctor --json
"""


def declare(parser: Parser) -> None:
    """Adds the arguments."""
    parser.setting("--edge-url", "EDGE_URL", "the edge to check", "URL")
    parser.setting("--token", "TOKEN", "the token to show it, where it wants one")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.where_nats_is()


def run(given: argparse.Namespace) -> int:
    """Runs the command and returns its exit code."""
    from ops.cli.doctor import run_doctor

    return run_doctor(load(given, "edge"), json=given.json)


COMMAND = Command(
    "Checks that everything is well, and says how to mend what is not; exits 1 if something is not.",
    declare,
    run,
    examples=_EXAMPLES,
)
