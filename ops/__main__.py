"""Runs the `callboard` command: chooses what was asked for, and tells in one line what went wrong."""

from __future__ import annotations

import difflib
import os
import signal
import sys
from collections.abc import Sequence

from ops.cli.commands import NAMES, command, parser
from ops.cli.overview import OVERVIEW
from ops.environment import wants_traceback
from ops.settings import Mistakes
from router.errors import RouterError

# A module of ours that is missing is a broken installation, and no extra.
_OWN = ("actors", "callboard", "edge", "ops", "protos", "router")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code: 0, 1 for a failure, 2 for wrong usage or settings, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if os.getpid() == 1:
        # The first process of a container: the kernel spares it from every signal that it does not handle.
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        code = _run(arguments)
        if sys.stdout:  # None where it was closed before we began
            sys.stdout.flush()
        return code
    except (Mistakes, RouterError, OSError, KeyboardInterrupt, ModuleNotFoundError, BaseExceptionGroup) as fault:
        return _fail(fault, "--debug" in arguments)


def _fail(fault: BaseException, debug: bool) -> int:
    """Prints an error in one line; an unexpected one keeps its traceback."""
    cause = fault
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    match cause:
        case Mistakes():
            for line in cause.lines:
                print(f"callboard: {line}", file=sys.stderr)
            return 2
        case KeyboardInterrupt():
            return 130
        case BrokenPipeError():
            # The reader of our output has closed it. What is still buffered must not fail again when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        case ModuleNotFoundError(name=str(name)) if not (debug or wants_traceback()) and not name.startswith(_OWN):
            missing = name.partition(".")[0]
            print(f"callboard: {missing} is not installed: pip install 'callboard[server]'", file=sys.stderr)
            return 1
        case RouterError() | OSError() if not (debug or wants_traceback()):
            print(f"callboard: {_in_words(cause)}", file=sys.stderr)
            return 1
    raise fault


def _in_words(fault: BaseException) -> str:
    if isinstance(fault, OSError) and fault.strerror and not isinstance(fault, RouterError):
        return f"{fault.filename}: {fault.strerror}" if fault.filename else fault.strerror
    return str(fault) or type(fault).__name__


def _run(arguments: list[str]) -> int:
    while arguments[:1] == ["--debug"] and len(arguments) > 1:
        arguments = [arguments[1], arguments[0], *arguments[2:]]
    first = arguments[0] if arguments else "--help"
    if first in ("--version", "-V"):
        first, arguments = "version", ["version"]
    if first == "help" and len(arguments) > 1:
        first, arguments = arguments[1], [arguments[1], "--help"]
    if first in ("-h", "--help", "help"):
        print(OVERVIEW, end="")
        return 0
    if first not in NAMES:
        close = difflib.get_close_matches(first, NAMES, 1)
        hint = f"did you mean {close[0]}?" if close else "`callboard --help` lists those there are"
        raise Mistakes([f"{first}: there is no such command; {hint}"])
    asked = command(first)
    arguments, rest = asked.split(arguments) if asked.split else (arguments, [])
    given, strangers = parser(first).parse_known_args(arguments)
    if strangers:
        raise Mistakes([f"{first}: {' '.join(strangers)}: there is no such option; see `callboard {first} --help`"])
    given.rest = rest
    return asked.run(given)


if __name__ == "__main__":
    sys.exit(main())
