"""`callboard agents`: serves functions that `@agent` makes agents."""

from __future__ import annotations

import argparse

from ops.cli.flags import Command, Parser, load

_EXAMPLES = """\
examples:
  callboard agents assistant:assistant        # the function `assistant` of assistant.py
  callboard agents chats.agents --grace 60    # all of a module

An agent is a function: `@callboard.agent("assistant")` above `async def assistant(run, input)`. Any number of processes may serve
one name. It connects with the settings of the other commands (CALLBOARD_NATS_URL, CALLBOARD_NATS_CREDS, …).
"""


def declare(parser: Parser) -> None:
    """Adds the arguments."""
    parser.add_argument(
        "agents", metavar="MODULE[:NAME]", nargs="+", help="which functions; without a name, all of the module"
    )
    parser.add_argument(
        "--grace", type=float, default=20.0, metavar="SECONDS", help="how long runs may go on once it is to end (20)"
    )
    parser.where_nats_is()


def run(given: argparse.Namespace) -> int:
    """Runs the command and returns its exit code."""
    from ops.cli.agents import find, run_agents

    return run_agents(find(given.agents), load(given), given.grace)


COMMAND = Command(
    "Serves Python functions as agents, which chats start at the edge; Ctrl-C lets their runs end.",
    declare,
    run,
    usage="agents MODULE[:NAME]… [OPTIONS]",
    examples=_EXAMPLES,
)
