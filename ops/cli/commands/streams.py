"""`callboard streams`: compares and applies streams."""

from __future__ import annotations

import argparse

from ops.cli.flags import Command, Parser, load
from ops.settings import Mistakes
from ops.values import seconds

_EXAMPLES = """\
examples:
  callboard streams diff --nats-url nats://nats.internal:4222
  callboard streams apply --patience 5m
  callboard streams wait --patience 5m      # returns once somebody else has made them
"""


def declare(parser: Parser) -> None:
    """Adds the arguments."""
    parser.add_argument(
        "what",
        choices=["diff", "apply", "wait"],
        help="diff exits 1 where something differs, wait where something is missing",
    )
    parser.add_argument(
        "--patience", metavar="TIME", default="0", help="how long to wait for NATS, and for what is missing (0)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.where_nats_is()


def run(given: argparse.Namespace) -> int:
    """Runs the command and returns its exit code."""
    from ops.cli.streams import run_streams

    try:
        patience = seconds(given.patience)
    except ValueError as fault:
        raise Mistakes([f"streams --patience {given.patience}: {fault}"]) from None
    return run_streams(load(given), given.what, patience=patience, json=given.json)


COMMAND = Command(
    "Compares a server's streams and buckets with what they should be, or makes them so.",
    declare,
    run,
    examples=_EXAMPLES,
)
