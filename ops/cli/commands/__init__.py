"""The commands of `callboard`: one module for each, with its arguments and what it runs.

A module here is imported for `--help` and for mistakes too, so it imports what does the work only when that is to be done.
"""

from __future__ import annotations

import importlib

from ops.cli.flags import Command, Parser

NAMES = (
    "up",
    "edge",
    "actor",
    "agents",
    "simulate",
    "publish",
    "tail",
    "run",
    "flush",
    "sessions",
    "octane",
    "camera",
    "demo",
    "deadletters",
    "webhooks",
    "rules",
    "streams",
    "backup",
    "restore",
    "token",
    "types",
    "settings",
    "doctor",
    "health",
    "logs",
    "version",
)


def command(name: str) -> Command:
    """Imports a command by its name."""
    found: Command = importlib.import_module(f"{__name__}.{name}").COMMAND
    return found


def parser(*names: str) -> Parser:
    """Builds the parser of some commands, or of all; only their modules are imported."""
    top = Parser(prog="callboard", usage="callboard COMMAND [OPTIONS]", add_help=False)
    commands = top.add_subparsers(prog="callboard", dest="command", metavar="COMMAND", parser_class=Parser)
    for name in names or NAMES:
        one = command(name)
        added: Parser = commands.add_parser(
            name, description=one.about, epilog=one.examples, usage=one.usage and f"callboard {one.usage}"
        )
        added.setting("--debug", "DEBUG", "show where an error came from", action="store_const", const="true")
        one.declare(added)
    return top
