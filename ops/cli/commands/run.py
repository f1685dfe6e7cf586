"""`callboard run`: runs a command and publishes its output."""

from __future__ import annotations

import argparse

from ops.cli.flags import Command, Parser, load
from ops.settings import Mistakes

_EXAMPLES = """\
examples:
  callboard run -- python train.py
  callboard run --colours -- pytest
  callboard run --job nightly -- rsync -a --info=progress2 photos/ backup/
"""

# `run` ends its own options where the command begins; of them these take a value.
_TAKES_VALUE = ("--job", "--name", "--domain", "--nats-url", "--data-dir")


def declare(parser: Parser) -> None:
    """Adds the arguments."""
    parser.add_argument("--job", metavar="ID", help="the job's id; without it a new one")
    parser.add_argument(
        "--domain", choices=["job", "agent", "thread"], default="job", help="what the run counts as (job)"
    )
    parser.add_argument("--name", metavar="NAME", help="a name for people")
    parser.add_argument("--quiet", action="store_true", help="do not show the command's own output")
    parser.add_argument(
        "--colours", action="store_true", help="make the command print colours, and keep them in its lines"
    )
    parser.add_argument("--json", action="store_true", help="print the events as JSON lines")
    parser.where_nats_is()


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Parts what is meant for `run` from the command: at `--`, or at the first word that is no option."""
    place = 1
    while place < len(arguments):
        word = arguments[place]
        if word == "--":
            return arguments[:place], arguments[place + 1 :]
        if not word.startswith("-"):
            break
        place += 2 if word in _TAKES_VALUE else 1
    return arguments[:place], arguments[place:]


def run(given: argparse.Namespace) -> int:
    """Runs the command and returns its exit code."""
    command: list[str] = given.rest
    if not command:
        raise Mistakes(["run: no command was given; write it after --, as in `callboard run -- python train.py`"])
    settings = load(given)
    from ops.cli.interruptible import run_interruptibly
    from ops.cli.run import run_command
    from ops.process.logs import configure_quiet
    from router.broker import Broker

    configure_quiet(settings.log)

    async def run_it() -> int:
        # Not opened here: the command starts at once, also where NATS is away.
        broker = Broker(settings.broker, "run", settings.topology)
        return await run_command(
            broker,
            command,
            job=given.job,
            domain=given.domain,
            name=given.name,
            quiet=given.quiet,
            json=given.json,
            colours=given.colours,
        )

    return run_interruptibly(run_it())


COMMAND = Command(
    "Runs a command; its lines, its progress and its end become events.",
    declare,
    run,
    split=split,
    usage="run [OPTIONS] -- COMMAND…",
    examples=_EXAMPLES,
)
