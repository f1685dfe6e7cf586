"""`callboard logs`: shows and changes log levels."""

from __future__ import annotations

import argparse

from ops.cli.flags import Command, Parser, load
from ops.settings import INTERNAL, Mistakes

_EXAMPLES = """\
examples:
  callboard logs
  callboard logs level edge debug
  callboard logs level edge.hub info --port 9090
"""


def declare(parser: Parser) -> None:
    """Adds the arguments."""
    parser.add_argument("what", metavar="level", nargs="?", choices=["level"], help="set the level of a logger")
    parser.add_argument("logger", metavar="LOGGER", nargs="?", help="root, edge, edge.hub, router.nats.connection, …")
    parser.add_argument("level", metavar="LEVEL", nargs="?", help="debug, info, warning or error")
    parser.setting(
        "--port", "INTERNAL_PORT", "the internal port of the process; without it that of a running edge", "PORT"
    )
    parser.setting("--data-dir", "DATA_DIR", "the data folder of a running `callboard up` (.callboard)", "FOLDER")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(given: argparse.Namespace) -> int:
    """Runs the command and returns its exit code."""
    from ops.cli.levels import run_levels

    if given.what and not given.level:
        raise Mistakes(["logs: level needs a logger and a level; as in `callboard logs level edge debug`"])
    return run_levels(load(given, adopt=(INTERNAL,)), given.logger, given.level, json=given.json)


COMMAND = Command(
    "Says how much a running process logs, or changes it until its end.",
    declare,
    run,
    usage="logs [level LOGGER LEVEL] [OPTIONS]",
    examples=_EXAMPLES,
)
