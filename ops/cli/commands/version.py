"""`callboard version`: prints the versions."""

from __future__ import annotations

import argparse

from ops.cli.flags import Command, Parser


def declare(parser: Parser) -> None:
    """Adds the arguments."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(given: argparse.Namespace) -> int:
    """Runs the command and returns its exit code."""
    from ops.cli.show import run_version

    return run_version(json=given.json)


COMMAND = Command("Shows the versions of Callboard, Python and nats-server.", declare, run)
