"""`callboard types`: writes the event types of the catalogue in a language."""

from __future__ import annotations

import argparse
from pathlib import Path

from ops.cli.flags import Command, Parser, load

_EXAMPLES = """\
examples:
  callboard types typescript --out src/callboard-events.ts
  CALLBOARD_EVENT_TYPES=events.yaml callboard types python > events.py
"""


def declare(parser: Parser) -> None:
    """Adds the arguments."""
    parser.add_argument("language", choices=("typescript", "python"), help="typescript or python")
    parser.add_argument("--out", metavar="FILE", type=Path, help="where to write them (the terminal)")


def run(given: argparse.Namespace) -> int:
    """Runs the command and returns its exit code."""
    from ops.cli.types import run_types

    load(given, adopt=())  # a user's own types, too
    return run_types(given.language, given.out)


COMMAND = Command("Writes the types of all known events in TypeScript or Python.", declare, run, examples=_EXAMPLES)
