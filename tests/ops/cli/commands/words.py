"""Runs and parses commands by their words, in this process."""

from __future__ import annotations

import argparse

from ops.cli.commands import command, parser
from ops.cli.flags import load
from ops.settings import Settings

# A port that nobody listens on.
NOWHERE = "http://127.0.0.1:1"


def parse(*words: str) -> argparse.Namespace:
    """Parses the words of a command. Raises Mistakes."""
    return parser(words[0]).parse_args(words)


def run(*words: str) -> int:
    """Runs a command; its exit code. Raises Mistakes or RouterError."""
    return command(words[0]).run(parse(*words))


def settings(*words: str, sections: tuple[str, ...] = ()) -> Settings:
    """The settings that the flags of a command make. Raises Mistakes."""
    return load(parse(*words), *sections)
