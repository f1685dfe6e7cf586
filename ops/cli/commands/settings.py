"""`callboard settings`: prints the settings."""

from __future__ import annotations

import argparse

from ops.cli.flags import Command, Parser, load
from ops.sections import SECTIONS
from ops.settings import KEYS, NATS

_EXAMPLES = """\
examples:
  callboard settings
  CALLBOARD_CONFIG=production.env callboard settings --json
"""


def declare(parser: Parser) -> None:
    """Adds the arguments."""
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.where_nats_is()


def run(given: argparse.Namespace) -> int:
    """Runs the command and returns its exit code."""
    from ops.cli.show import run_settings

    return run_settings(load(given, *SECTIONS, adopt=(NATS, *KEYS)), json=given.json)


COMMAND = Command("Shows every setting, its value, and where that comes from.", declare, run, examples=_EXAMPLES)
