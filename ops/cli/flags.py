"""Declares flags, and reads the settings with what they say.

A flag that sets something is nothing but another way to say its variable: `--port 9000` is `CALLBOARD_EDGE_PORT=9000`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

from ops.environment import RawValue
from ops.settings import NATS, Mistakes, Settings

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"  # argparse has no public name for it


class Parser(argparse.ArgumentParser):
    """An argument parser that complains in one line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)
        self._mixes = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parses as its base does, but options may stand before, between and behind the other words."""
        if self._mixes or any(each.nargs in (argparse.PARSER, argparse.REMAINDER) for each in self._actions):
            return super().parse_known_args(args, namespace)
        self._mixes = True  # it calls this again
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._mixes = False

    def error(self, message: str) -> NoReturn:
        name = self.prog.removeprefix("callboard").strip()
        raise Mistakes([f"{name}: {message}; see `{self.prog} --help`" if name else message])

    def setting(
        self, flag: str, variable: str, help: str, metavar: str | None = None, lines: bool = False, **more: object
    ) -> None:
        """Adds a flag that sets a variable; `lines`: one given several times, in whose values commas are nothing special."""
        taken = {} if "action" in more else {"metavar": metavar or flag.removeprefix("--").upper().replace("-", "_")}
        self.add_argument(
            flag, dest=f"CALLBOARD_{variable}", default=argparse.SUPPRESS, help=f"{help} [CALLBOARD_{variable}]", **taken, **more  # type: ignore[arg-type]
        )  # fmt: skip
        self.set_defaults(**{f"flag CALLBOARD_{variable}": flag, f"lines CALLBOARD_{variable}": lines})

    def where_nats_is(self) -> None:
        """Adds the flags that say which NATS is meant."""
        self.setting("--nats-url", "NATS_URL", "the NATS to use; without it that of a running `callboard up`", "URL")
        self.setting("--data-dir", "DATA_DIR", "the data folder of that `callboard up` (.callboard)", "FOLDER")

    def where_the_edge_is(self) -> None:
        """Adds the flags that say which edge is asked, and what it is shown."""
        self.setting("--edge-url", "EDGE_URL", "the edge to ask", "URL")
        self.setting("--token", "TOKEN", "the token to show it, where it wants one")
        self.setting("--data-dir", "DATA_DIR", "the data folder of a running `callboard up` (.callboard)", "FOLDER")


@dataclass(frozen=True)
class Command:
    """One command: what it is for, its arguments, and what it runs. `usage` and `examples` are for its `--help`.

    `split` parts what is meant for the command from what follows as it stands, which `run` finds in `given.rest`.
    """

    about: str
    declare: Callable[[Parser], None]
    run: Callable[[argparse.Namespace], int]
    usage: str | None = None
    examples: str | None = None
    split: Callable[[list[str]], tuple[list[str], list[str]]] | None = None


def load(given: argparse.Namespace, *sections: str, adopt: Sequence[str] = (NATS,)) -> Settings:
    """Reads the settings, with what the flags say, and groups of them from a running `callboard up`."""
    flags: dict[str, RawValue] = {}
    for variable, value in vars(given).items():
        if variable.startswith("CALLBOARD_"):
            text = value
            if isinstance(value, list):
                lines = vars(given).get(f"lines {variable}", False)
                text = "".join(f"{each}\n" for each in value) if lines else ",".join(value)
            flags[variable] = RawValue(text, "flag", vars(given)[f"flag {variable}"])
    return Settings.load(*sections, flags=flags, adopt=adopt)
