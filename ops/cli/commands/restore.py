"""`callboard restore`: restores what `callboard backup` saved."""

from __future__ import annotations

import argparse
from pathlib import Path

from ops.cli.flags import Command, Parser, load

_EXAMPLES = """\
examples:
  callboard restore /backup/today --data-dir ~/restored      # then: callboard up --data-dir ~/restored
  callboard restore /backup/today --nats-url nats://nats.internal:4222
"""


def declare(parser: Parser) -> None:
    """Adds the arguments."""
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="what `callboard backup` wrote")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.setting("--nats-url", "NATS_URL", "the NATS to restore into; without it the data folder", "URL")
    parser.setting("--data-dir", "DATA_DIR", "the data folder to restore into (.callboard)", "FOLDER")


def run(given: argparse.Namespace) -> int:
    """Runs the command and returns its exit code."""
    from ops.cli.backup import run_restore

    return run_restore(load(given, adopt=()), given.folder, json=given.json)


COMMAND = Command(
    "Restores a backup into a new data folder, or into a NATS without streams of Callboard.",
    declare,
    run,
    examples=_EXAMPLES,
)
