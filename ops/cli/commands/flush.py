"""`callboard flush`: delivers what runs left in their spools."""

from __future__ import annotations

import argparse
from pathlib import Path

from ops.cli.flags import Command, Parser, load
from ops.settings import Mistakes
from ops.values import seconds

_EXAMPLES = """\
examples:
  callboard flush                          # all that is left on this machine, each to where its run sent it
  callboard flush --run nightly --url nats://nats.internal:4222
"""


def declare(parser: Parser) -> None:
    """Adds the arguments."""
    parser.add_argument(
        "--dir", metavar="FOLDER", type=Path, help="where the spools are; without it CALLBOARD_SPOOL_DIR, or the user's"
    )
    parser.add_argument("--run", metavar="ID", help="only those of one run")
    parser.add_argument(
        "--url", metavar="URL", help="the NATS (nats://…) or edge (http://…) to send to, and not the runs' own"
    )
    parser.add_argument("--patience", metavar="TIME", default="10", help="how long to wait for a server (10 s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object for each file")
    parser.setting("--token", "TOKEN", "the token to show an edge, where it wants one")
    parser.setting(
        "--nats-url",
        "NATS_URL",
        "with its credentials, for spools whose NATS asked for some; others know their address",
        "URL",
    )
    parser.setting(
        "--data-dir", "DATA_DIR", "the data folder of the `callboard up` whose credentials those need", "FOLDER"
    )


def run(given: argparse.Namespace) -> int:
    """Runs the command and returns its exit code."""
    from ops.cli.flush import FlushRequest, run_flush

    try:
        patience = seconds(given.patience)
    except ValueError as fault:
        raise Mistakes([f"flush --patience {given.patience}: {fault}"]) from None
    return run_flush(load(given), FlushRequest(given.dir, given.run, given.url, patience, given.json))


COMMAND = Command(
    "Delivers the events that runs could not store before they ended, from the spools on this machine.",
    declare,
    run,
    examples=_EXAMPLES,
)
