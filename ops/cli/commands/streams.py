"""`callboard streams`: compares and applies streams, and puts the events into more or fewer of them."""

from __future__ import annotations

import argparse

from ops.cli.flags import Command, Parser, load
from ops.settings import Mistakes
from ops.values import seconds
from router.layout import MAX_SHARDS

_EXAMPLES = """\
examples:
  callboard streams diff --nats-url nats://nats.internal:4222
  callboard streams apply --patience 5m
  callboard streams wait --patience 5m      # returns once somebody else has made them
  callboard streams reshard 4 --dry-run     # what it would do
  callboard streams reshard 4               # while everything runs; run again it finishes what was interrupted

One stream takes some 100,000 events a second. `reshard N` puts new events into N streams, by domain and entity, so that each
entity keeps its order; what was stored before is read from the former streams until it is too old. Clients notice nothing but
longer cursors. Every process must be of a version that knows shards, and NATS must allow it `evs.>` (k8s/base/nats/accounts.conf).
"""


def declare(parser: Parser) -> None:
    """Adds the arguments."""
    parser.add_argument(
        "what",
        choices=["diff", "apply", "wait", "reshard"],
        help="diff exits 1 where something differs, wait where something is missing",
    )
    parser.add_argument("shards", metavar="N", nargs="?", type=int, help="reshard: into so many streams (1 to 64)")
    parser.add_argument("--dry-run", action="store_true", help="reshard: only say what would be done")
    parser.add_argument(
        "--patience",
        metavar="TIME",
        default="0",
        help="how long to wait for NATS, and for what is missing; reshard: how long to try again where NATS was lost (0)",
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
    if given.what == "reshard":
        if given.shards is None:
            raise Mistakes(["streams reshard: say into how many streams, as in `callboard streams reshard 4`"])
        if not 1 <= given.shards <= MAX_SHARDS:
            raise Mistakes([f"streams reshard {given.shards}: the events can be in 1 to {MAX_SHARDS} streams"])
        from ops.cli.reshard import run_reshard

        return run_reshard(load(given), given.shards, patience=patience, dry_run=given.dry_run, json=given.json)
    if given.shards is not None or given.dry_run:
        raise Mistakes(
            [f"streams {given.what} takes no number and no --dry-run; those are for `callboard streams reshard`"]
        )
    return run_streams(load(given), given.what, patience=patience, json=given.json)


COMMAND = Command(
    "Compares a server's streams and buckets with what they should be, makes them so, or puts the events into more streams.",
    declare,
    run,
    examples=_EXAMPLES,
)
