"""This file is where the `callboard` command begins: what it can be asked for, and how it fails.

A flag that sets something is nothing but another way to say its variable: `--port 9000` is `CALLBOARD_EDGE_PORT=9000`. What a
command needs is imported when it runs, so that `callboard --help` answers at once.
"""

from __future__ import annotations

import argparse
import difflib
import functools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from ops.settings import SECTIONS, Found, Mistakes, Settings, wants_traceback
from router.errors import RouterError

OVERVIEW = """\
usage: callboard COMMAND [OPTIONS]

Callboard routes events from actors to whoever listens: one cursor over WebSocket, SSE, webhook and polling.

Run it
  up                start everything: NATS, the actors, the edge
  edge              serve HTTP only, beside a NATS that runs already
  actor NAME        run one actor: octane, camera, agent or alerts
  simulate octane   serve a simulated Octane, with the wire of a real one

Use it
  publish SUBJECT   say an event
  tail PATTERN…     follow events as they are said
  run -- COMMAND    run a command and publish its output, progress and end
  sessions          list who is subscribed

Look after it
  doctor            check that everything is well, and say how to mend what is not
  streams           compare a server's streams with what they should be, or make them so
  settings          show every setting, its value, and where that comes from
  version           show the versions

Begin with:
  callboard up
  callboard tail '>'
  callboard run -- sh -c 'for i in 25 50 75 100; do echo "$i%"; sleep 1; done'

`callboard COMMAND --help` says more. Every flag has a variable, too: `callboard settings` lists them.
"""

EXAMPLES: Mapping[str, str] = {
    "up": """\
examples:
  callboard up
  callboard up --port 9000 --data-dir ~/callboard
  callboard up --nats-url nats://nats.internal:4222
  callboard up --only edge,agent,alerts
""",
    "edge": """\
examples:
  callboard edge --nats-url nats://nats.internal:4222
  callboard edge --port 9000 --workers 4
""",
    "actor": """\
examples:
  callboard actor alerts
  CALLBOARD_CAMERA_SOURCE=lobby.mp4 callboard actor camera --instance lobby
""",
    "simulate": """\
examples:
  callboard simulate octane
  callboard simulate octane --port 51023 --width 640 --height 360 --generation alpha-5
""",
    "publish": """\
examples:
  callboard publish agent.run-42.progress '{"progress": 0.4}'
  jq -c '.[]' readings.json | callboard publish metric.lab.read -
  cat events.ndjson | callboard publish -          # each line: {"subject": …, "data": {…}}
""",
    "tail": """\
examples:
  callboard tail '>'
  callboard tail 'agent.run-42.>' 'alert.>' --last 20
  callboard tail 'camera.*.statistics' --since 10m --json
  callboard tail '>' --filter 'type == "progress" && data.progress > 0.5'
""",
    "run": """\
examples:
  callboard run -- python train.py
  callboard run --job nightly -- rsync -a --info=progress2 photos/ backup/
""",
    "sessions": """\
examples:
  callboard sessions
  callboard sessions --edge-url http://127.0.0.1:9000 --json
""",
    "streams": """\
examples:
  callboard streams diff --nats-url nats://nats.internal:4222
  callboard streams apply
""",
    "doctor": """\
examples:
  callboard doctor
  callboard doctor --json
""",
    "settings": """\
examples:
  callboard settings
  CALLBOARD_CONFIG=production.env callboard settings --json
""",
}

# `run` ends its own options where the command begins; of them these take a value.
_RUN_VALUES = ("--job", "--name", "--domain", "--nats-url", "--data-dir")


class Parser(argparse.ArgumentParser):
    """An argument parser that complains in one line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        name = self.prog.removeprefix("callboard").strip()
        raise Mistakes([f"{name}: {message}; see `{self.prog} --help`" if name else message])

    def setting(self, flag: str, variable: str, help: str, metavar: str | None = None, **more: object) -> None:
        """Adds a flag that sets a variable."""
        taken = {} if "action" in more else {"metavar": metavar or flag.removeprefix("--").upper().replace("-", "_")}
        self.add_argument(
            flag, dest=f"CALLBOARD_{variable}", default=argparse.SUPPRESS, help=f"{help} [CALLBOARD_{variable}]", **taken, **more  # type: ignore[arg-type]
        )  # fmt: skip
        self.set_defaults(**{f"flag CALLBOARD_{variable}": flag})

    def where_nats_is(self, data_dir: bool = True) -> None:
        """Adds the flags that say which NATS is meant."""
        self.setting("--nats-url", "NATS_URL", "the NATS to use; without it that of a running `callboard up`", "URL")
        if data_dir:
            self.setting("--data-dir", "DATA_DIR", "the data folder of that `callboard up` (.callboard)", "FOLDER")


def parser() -> Parser:
    """Builds the parser of the whole command."""
    top = Parser(prog="callboard", usage="callboard COMMAND [OPTIONS]", add_help=False)
    commands = top.add_subparsers(prog="callboard", dest="command", metavar="COMMAND", parser_class=Parser)

    def add(name: str, about: str, usage: str | None = None) -> Parser:
        added: Parser = commands.add_parser(
            name, description=about, epilog=EXAMPLES.get(name), usage=usage and f"callboard {usage}"
        )
        added.setting("--debug", "DEBUG", "show where an error came from", action="store_const", const="true")
        return added

    up = add(
        "up", "Starts NATS, the actors, a simulated Octane and the edge, watches over them, and ends them in order."
    )
    up.setting("--port", "EDGE_PORT", "the port to serve on (8000)")
    up.setting("--host", "EDGE_HOST", "the address to listen on (127.0.0.1)")
    up.setting("--data-dir", "DATA_DIR", "where everything is kept (.callboard)", "FOLDER")
    up.setting("--nats-url", "NATS_URL", "use this NATS instead of an embedded one", "URL")
    up.setting(
        "--only", "UP_ONLY", "start these only: edge, octane, camera, agent, alerts, simulator", "NAME", action="append"
    )
    up.setting("--no-demo", "UP_DEMO", "leave out the simulated Octane", action="store_const", const="false")

    edge = add("edge", "Serves HTTP: sessions, WebSocket, SSE, polling, webhooks, publishing, video.")
    edge.setting("--host", "EDGE_HOST", "the address to listen on (127.0.0.1)")
    edge.setting("--port", "EDGE_PORT", "the port to listen on (8000)")
    edge.setting("--workers", "EDGE_WORKERS", "how many processes share the port (1)", "N")
    edge.where_nats_is()

    actor = add("actor", "Runs one actor until it is told to stop.")
    actor.add_argument("name", metavar="NAME", help="octane, camera, agent or alerts")
    actor.setting("--instance", "INSTANCE", "the name of this one, where there are several (main)", "ID")
    actor.where_nats_is()

    simulate = add("simulate", "Serves something that this machine does not have.", "simulate octane [OPTIONS]")
    simulate.add_argument("what", metavar="octane", choices=["octane"], help="what to simulate")
    simulate.setting("--host", "SIMULATOR_HOST", "the address to listen on (127.0.0.1)")
    simulate.setting("--port", "SIMULATOR_PORT", "the port to listen on (51022); 0 takes a free one")
    for flag, about in (
        ("width", "pixels in a row"),
        ("height", "rows"),
        ("pitch", "pixels of a row in memory"),
        ("max-samples", "samples a pixel, until a render is finished"),
        ("samples-per-second", "how fast it renders"),
        ("generation", "which wire it speaks: beta-2 or alpha-5"),
    ):
        simulate.setting(
            f"--{flag}", f"SIMULATOR_{flag.upper().replace('-', '_')}", about, "N" if flag != "generation" else "NAME"
        )

    publish = add("publish", "Says events; returns once they are stored.", "publish SUBJECT [JSON | -] [OPTIONS]")
    publish.add_argument(
        "subject", metavar="SUBJECT", help="such as agent.run-42.progress; - reads whole events as lines"
    )
    publish.add_argument("data", metavar="JSON", nargs="?", help="the data, a JSON object; - reads one from each line")
    publish.add_argument("--type", metavar="TYPE", help="the type; without it the last token of the subject")
    publish.add_argument("--key", metavar="KEY", help="events of one key supersede each other")
    publish.add_argument("--test", action="store_true", help="mark as a test")
    publish.add_argument("--json", action="store_true", help="print one JSON object for each event")
    publish.where_nats_is()

    tail = add("tail", "Follows events: first those asked for from the past, then the new ones, none missing between.")
    tail.add_argument("patterns", metavar="PATTERN", nargs="+", help="such as 'agent.run-42.>' or 'camera.*.state'")
    tail.add_argument("--since", metavar="TIME", help="begin there: 10m, 2h, or RFC 3339")
    tail.add_argument("--last", metavar="N", help="begin with the last N events; `all` for every one kept")
    tail.add_argument("--type", metavar="TYPE", action="append", help="only these types")
    tail.add_argument("--filter", metavar="CEL", help="only events for which this holds")
    tail.add_argument("--count", metavar="N", type=int, help="end after N events")
    tail.add_argument("--no-follow", action="store_true", help="end where the past ends")
    tail.add_argument("--json", action="store_true", help="print one JSON object a line")
    tail.where_nats_is()

    run = add("run", "Runs a command; its lines, its progress and its end become events.", "run [OPTIONS] -- COMMAND…")
    run.add_argument("--job", metavar="ID", help="the job's id; without it a new one")
    run.add_argument("--domain", choices=["job", "agent", "thread"], default="job", help="what the run counts as (job)")
    run.add_argument("--name", metavar="NAME", help="a name for people")
    run.add_argument("--quiet", action="store_true", help="do not show the command's own output")
    run.add_argument("--json", action="store_true", help="print the events as JSON lines")
    run.where_nats_is()

    sessions = add("sessions", "Lists the sessions that the edge knows.")
    sessions.setting("--edge-url", "EDGE_URL", "the edge to ask", "URL")
    sessions.setting("--data-dir", "DATA_DIR", "the data folder of a running `callboard up` (.callboard)", "FOLDER")
    sessions.add_argument("--json", action="store_true", help="print JSON")

    streams = add("streams", "Compares a server's streams and buckets with what they should be, or makes them so.")
    streams.add_argument("what", choices=["diff", "apply"], help="diff exits 1 where something differs")
    streams.add_argument("--json", action="store_true", help="print JSON")
    streams.where_nats_is()

    settings = add("settings", "Shows every setting, its value, and where that comes from.")
    settings.add_argument("--json", action="store_true", help="print JSON")
    settings.where_nats_is()

    doctor = add(
        "doctor", "Checks that everything is well, and says how to mend what is not; exits 1 if something is not."
    )
    doctor.setting("--edge-url", "EDGE_URL", "the edge to check", "URL")
    doctor.add_argument("--json", action="store_true", help="print JSON")
    doctor.where_nats_is()

    version = add("version", "Shows the versions of Callboard, Python and nats-server.")
    version.add_argument("--json", action="store_true", help="print JSON")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code: 0, 1 for what went wrong, 2 for what was asked wrongly, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except (Mistakes, RouterError, OSError, KeyboardInterrupt, BaseExceptionGroup) as fault:
        return _fail(fault, "--debug" in arguments)


def _fail(fault: BaseException, debug: bool) -> int:
    """Says in one line what went wrong; what nobody foresaw keeps its traceback."""
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
            # Whoever read our output has seen enough. What is still buffered must not fail again when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
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
    if first not in COMMANDS:
        close = difflib.get_close_matches(first, COMMANDS, 1)
        hint = f"did you mean {close[0]}?" if close else "`callboard --help` lists those there are"
        raise Mistakes([f"{first}: there is no such command; {hint}"])
    rest: list[str] = []
    if first == "run":
        arguments, rest = _split_run(arguments)
    given, strangers = parser().parse_known_args(arguments)
    if strangers:
        raise Mistakes([f"{first}: {' '.join(strangers)}: there is no such option; see `callboard {first} --help`"])
    return _CALLS[first](given, rest)


def _split_run(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Parts what is meant for `run` from the command: at `--`, or at the first word that is no option."""
    place = 1
    while place < len(arguments):
        word = arguments[place]
        if word == "--":
            return arguments[:place], arguments[place + 1 :]
        if not word.startswith("-"):
            break
        place += 2 if word in _RUN_VALUES else 1
    return arguments[:place], arguments[place:]


def load(given: argparse.Namespace, *sections: str) -> Settings:
    """Reads the settings, with what the flags say."""
    flags: dict[str, Found] = {}
    for variable, value in vars(given).items():
        if variable.startswith("CALLBOARD_"):
            text = ",".join(value) if isinstance(value, list) else value
            flags[variable] = Found(text, "flag", vars(given)[f"flag {variable}"])
    return Settings.load(*sections, flags=flags)


def _up(given: argparse.Namespace, _: list[str]) -> int:
    from ops.up import run_up

    return run_up(load(given, "edge"))


def _edge(given: argparse.Namespace, _: list[str]) -> int:
    from ops.roles import run_role, serve_edge

    settings = load(given, "edge", "guard")
    return run_role(functools.partial(serve_edge, settings), settings)


def _actor(given: argparse.Namespace, _: list[str]) -> int:
    from actors.catalog import CAST
    from ops.roles import play, run_role

    if given.name not in CAST:
        raise Mistakes([f"actor {given.name}: there is no such actor; there are {', '.join(CAST)}"])
    settings = load(given, *SECTIONS.keys() & {given.name})
    return run_role(functools.partial(play, given.name, settings), settings)


def _simulate(given: argparse.Namespace, _: list[str]) -> int:
    from ops.roles import run_role, simulate_octane

    settings = load(given, "simulator")
    return run_role(functools.partial(simulate_octane, settings), settings)


def _publish(given: argparse.Namespace, _: list[str]) -> int:
    from ops.publish import Request, run_publish

    request = Request(given.subject, given.data, given.type, given.key, given.test, given.json)
    return run_publish(load(given), request)


def _tail(given: argparse.Namespace, _: list[str]) -> int:
    from ops.tail import Request, run_tail

    request = Request(
        tuple(given.patterns),
        since=given.since,
        last=given.last,
        types=tuple(given.type or ()),
        filter=given.filter,
        count=given.count,
        follow=not given.no_follow,
        json=given.json,
    )
    return run_tail(load(given), request)


def _run_command(given: argparse.Namespace, command: list[str]) -> int:
    if not command:
        raise Mistakes(["run: no command was given; write it after --, as in `callboard run -- python train.py`"])
    settings = load(given)
    import asyncio

    from ops.logs import quietly
    from ops.run import run_command
    from router.broker import Broker

    quietly(settings.log)

    async def run() -> int:
        # Not opened here: the command starts at once, also where NATS is away.
        broker = Broker(settings.broker, "run", settings.topology)
        return await run_command(
            broker, command, job=given.job, domain=given.domain, name=given.name, quiet=given.quiet, json=given.json
        )

    return asyncio.run(run())


def _sessions(given: argparse.Namespace, _: list[str]) -> int:
    from ops.sessions import run_sessions

    return run_sessions(load(given, "edge"), json=given.json)


def _streams(given: argparse.Namespace, _: list[str]) -> int:
    from ops.streams import run_streams

    return run_streams(load(given), apply=given.what == "apply", json=given.json)


def _settings(given: argparse.Namespace, _: list[str]) -> int:
    from ops.show import run_settings

    return run_settings(load(given, *SECTIONS), json=given.json)


def _doctor(given: argparse.Namespace, _: list[str]) -> int:
    from ops.doctor import run_doctor

    return run_doctor(load(given, "edge"), json=given.json)


def _version(given: argparse.Namespace, _: list[str]) -> int:
    from ops.show import run_version

    return run_version(json=given.json)


_CALLS: Mapping[str, Callable[[argparse.Namespace, list[str]], int]] = {
    "up": _up,
    "edge": _edge,
    "actor": _actor,
    "simulate": _simulate,
    "publish": _publish,
    "tail": _tail,
    "run": _run_command,
    "sessions": _sessions,
    "streams": _streams,
    "settings": _settings,
    "doctor": _doctor,
    "version": _version,
}
COMMANDS = tuple(_CALLS)


if __name__ == "__main__":
    sys.exit(main())
