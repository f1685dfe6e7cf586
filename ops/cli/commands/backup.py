"""`callboard backup`: saves the streams of a running NATS."""

from __future__ import annotations

import argparse
from pathlib import Path

from ops.cli.flags import Command, Parser, load

_EXAMPLES = """\
examples:
  callboard backup /backup/2026-11-27                  # of the running `callboard up`
  callboard backup /backup/today --nats-url nats://nats.internal:4222
"""


def declare(parser: Parser) -> None:
    """Adds the arguments."""
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="where to save to: new or empty")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.where_nats_is()


def run(given: argparse.Namespace) -> int:
    """Runs the command and returns its exit code."""
    from ops.cli.backup import run_backup

    return run_backup(load(given), given.folder, json=given.json)


COMMAND = Command(
    "Saves all streams and buckets, while everything runs, into a folder.", declare, run, examples=_EXAMPLES
)
