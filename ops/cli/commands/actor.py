"""`callboard actor`: runs one actor."""

from __future__ import annotations

import argparse
import functools

from ops.cli.flags import Command, Parser, load
from ops.sections import SECTIONS
from ops.settings import Mistakes

_EXAMPLES = """\
examples:
  callboard actor alerts
  CALLBOARD_CAMERA_SOURCE=lobby.mp4 callboard actor camera --instance lobby
"""


def declare(parser: Parser) -> None:
    """Adds the arguments."""
    parser.add_argument("name", metavar="NAME", help="octane, camera, agent, alerts or metrics")
    parser.setting("--instance", "INSTANCE", "the name of this one, where there are several (main)", "ID")
    parser.where_nats_is()


def run(given: argparse.Namespace) -> int:
    """Runs the command and returns its exit code."""
    from actors.catalog import ACTORS
    from ops.process.roles import run_role, serve_actor

    if given.name not in ACTORS:
        raise Mistakes([f"actor {given.name}: there is no such actor; there are {', '.join(ACTORS)}"])
    settings = load(given, *SECTIONS.keys() & {given.name})
    return run_role(functools.partial(serve_actor, given.name, settings), settings, f"actor {given.name}")


COMMAND = Command("Runs one actor until it is told to stop.", declare, run, examples=_EXAMPLES)
