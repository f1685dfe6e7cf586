"""`callboard token`: makes a token for development."""

from __future__ import annotations

import argparse

from ops.cli.flags import Command, Parser, load
from ops.settings import KEYS

_EXAMPLES = """\
examples:
  callboard token --read '>' --publish 'agent.>' --ttl 8h
  CALLBOARD_TOKEN=$(callboard token --operate) callboard sessions
"""


def declare(parser: Parser) -> None:
    """Adds the arguments."""
    parser.add_argument("--subject", metavar="NAME", default="developer", help="who it is for (developer)")
    parser.add_argument("--read", metavar="PATTERN", action="append", help="events that may be read; may be repeated")
    parser.add_argument("--publish", metavar="PATTERN", action="append", help="events that may be published")
    parser.add_argument(
        "--command", metavar="PATTERN", action="append", dest="commands", help="commands that may be given"
    )
    parser.add_argument("--operate", action="store_true", help="dead letters, rules, figures, all sessions")
    parser.add_argument(
        "--session",
        metavar="ID",
        action="append",
        help="for the endpoint of this session alone, at /portal/ID; nothing else",
    )
    parser.add_argument("--ttl", metavar="TIME", default="1h", help="how long it is good: 15m, 8h, 7d (1h)")
    parser.setting("--data-dir", "DATA_DIR", "the data folder of a running `callboard up` (.callboard)", "FOLDER")
    parser.add_argument("--json", action="store_true", help="print JSON, with the time at which it ends")


def run(given: argparse.Namespace) -> int:
    """Runs the command and returns its exit code."""
    from ops.cli.token import TokenRequest, run_token

    request = TokenRequest(
        given.subject,
        tuple(given.read or ()),
        tuple(given.publish or ()),
        tuple(given.commands or ()),
        given.operate,
        given.ttl,
        given.json,
        tuple(given.session or ()),
    )
    return run_token(load(given, "identity", adopt=KEYS), request)


COMMAND = Command(
    "Makes a token for development, with the secret that the edge checks tokens by.", declare, run, examples=_EXAMPLES
)
