"""This file is where the `callboard` command begins: what it can be asked for, and how it fails.

A flag that sets something is nothing but another way to say its variable: `--port 9000` is `CALLBOARD_EDGE_PORT=9000`. What a
command needs is imported when it runs, so that `callboard --help` answers at once.
"""

from __future__ import annotations

import argparse
import difflib
import functools
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from ops.environment import Found, wants_traceback
from ops.sections import SECTIONS
from ops.settings import INTERNAL, KEYS, NATS, Mistakes, Settings
from ops.values import seconds
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
  health            say whether the process here is ready: a container's health check
  logs              see how much a running process says, and change it
  deadletters       see what was given up, and send it again
  webhooks          see what was posted and how an endpoint is, and send it again
  streams           compare a server's streams with what they should be, or make them so
  token             make a token for development
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
    "deadletters": """\
commands:
  ls                list them, the newest first
  show ID           show one, with its event
  summary           count them by origin, reason and name
  redrive           send them again: one by its ID, those that a filter means, or --all
  jobs              list the redrives of the last week
  cancel ID         call a redrive off
  purge             delete those that a filter means, or --all

examples:
  callboard deadletters ls --origin webhook --since 2h
  callboard deadletters show 1042
  callboard deadletters redrive --name sess_3f0a… --reason exhausted --dry-run
  callboard deadletters redrive --origin actor --rate 20
  callboard deadletters purge --until 7d --yes

`callboard deadletters COMMAND --help` says more.
""",
    "webhooks": """\
commands:
  attempts SESSION        list the posts made, the newest first
  health SESSION          say how its endpoint is
  resend SESSION ID       send one delivery again: by its id, or that of its event
  recover SESSION         send again all that failed for good since a time
  replay SESSION          send a stretch of the past again
  rotate SESSION          make a new secret
  verify SESSION          ask the receiver whether it wants to be posted to
  enable SESSION          let a disabled or halted endpoint have its events again
  disable SESSION         let it have nothing until it is enabled

examples:
  callboard webhooks attempts sess_3f0a… --result fail
  callboard webhooks recover sess_3f0a… --since 2h
  callboard webhooks disable sess_3f0a… --reason 'moving house'

`callboard webhooks COMMAND --help` says more.
""",
    "streams": """\
examples:
  callboard streams diff --nats-url nats://nats.internal:4222
  callboard streams apply --patience 5m
  callboard streams wait --patience 5m      # returns once somebody else has made them
""",
    "token": """\
examples:
  callboard token --read '>' --publish 'agent.>' --ttl 8h
  CALLBOARD_TOKEN=$(callboard token --operate) callboard sessions
""",
    "logs": """\
examples:
  callboard logs
  callboard logs level edge debug
  callboard logs level edge.hub info --port 9090
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
    sessions.setting("--token", "TOKEN", "the token to show it, where it wants one")
    sessions.setting("--data-dir", "DATA_DIR", "the data folder of a running `callboard up` (.callboard)", "FOLDER")
    sessions.add_argument("--json", action="store_true", help="print JSON")

    _deadletter_commands(
        add(
            "deadletters",
            "Deals with deliveries that were given up: what is kept of them, why, and how they are sent again.",
            "deadletters COMMAND [OPTIONS]",
        )
    )

    _webhook_commands(
        add(
            "webhooks",
            "Looks after the webhook of one session: what was posted, how its endpoint is, what is sent again.",
            "webhooks COMMAND SESSION [OPTIONS]",
        )
    )

    streams = add("streams", "Compares a server's streams and buckets with what they should be, or makes them so.")
    streams.add_argument(
        "what",
        choices=["diff", "apply", "wait"],
        help="diff exits 1 where something differs, wait where something is missing",
    )
    streams.add_argument(
        "--patience", metavar="TIME", default="0", help="how long to wait for NATS, and for what is missing (0)"
    )
    streams.add_argument("--json", action="store_true", help="print JSON")
    streams.where_nats_is()

    token = add("token", "Makes a token for development, with the secret that the edge checks tokens by.")
    token.add_argument("--subject", metavar="NAME", default="developer", help="who it is for (developer)")
    token.add_argument("--read", metavar="PATTERN", action="append", help="events that may be read; may be repeated")
    token.add_argument("--publish", metavar="PATTERN", action="append", help="events that may be published")
    token.add_argument(
        "--command", metavar="PATTERN", action="append", dest="commands", help="commands that may be given"
    )
    token.add_argument("--operate", action="store_true", help="dead letters, rules, figures, all sessions")
    token.add_argument("--ttl", metavar="TIME", default="1h", help="how long it is good: 15m, 8h, 7d (1h)")
    token.setting("--data-dir", "DATA_DIR", "the data folder of a running `callboard up` (.callboard)", "FOLDER")
    token.add_argument("--json", action="store_true", help="print JSON, with the time at which it ends")

    settings = add("settings", "Shows every setting, its value, and where that comes from.")
    settings.add_argument("--json", action="store_true", help="print JSON")
    settings.where_nats_is()

    doctor = add(
        "doctor", "Checks that everything is well, and says how to mend what is not; exits 1 if something is not."
    )
    doctor.setting("--edge-url", "EDGE_URL", "the edge to check", "URL")
    doctor.setting("--token", "TOKEN", "the token to show it, where it wants one")
    doctor.add_argument("--json", action="store_true", help="print JSON")
    doctor.where_nats_is()

    add("health", "Says whether the process on this machine is ready; exits 1 where it is not.")

    logs = add(
        "logs",
        "Says how much a running process logs, or changes it until its end.",
        "logs [level LOGGER LEVEL] [OPTIONS]",
    )
    logs.add_argument("what", metavar="level", nargs="?", choices=["level"], help="set the level of a logger")
    logs.add_argument("logger", metavar="LOGGER", nargs="?", help="root, edge, edge.hub, router.nats.connection, …")
    logs.add_argument("level", metavar="LEVEL", nargs="?", help="debug, info, warning or error")
    logs.setting(
        "--port", "INTERNAL_PORT", "the internal port of the process; without it that of a running edge", "PORT"
    )
    logs.setting("--data-dir", "DATA_DIR", "the data folder of a running `callboard up` (.callboard)", "FOLDER")
    logs.add_argument("--json", action="store_true", help="print JSON")

    version = add("version", "Shows the versions of Callboard, Python and nats-server.")
    version.add_argument("--json", action="store_true", help="print JSON")
    return top


def _webhook_commands(parent: Parser) -> None:
    """Adds the commands of `callboard webhooks`."""
    commands = parent.add_subparsers(
        prog="callboard webhooks", dest="what", metavar="COMMAND", required=True, parser_class=Parser,
        help=argparse.SUPPRESS,
    )  # fmt: skip

    def add(name: str, about: str, usage: str) -> Parser:
        added: Parser = commands.add_parser(name, description=about, usage=f"callboard webhooks {name} {usage}")
        added.add_argument("session", metavar="SESSION", help="the session, as `callboard sessions` shows it")
        added.setting("--edge-url", "EDGE_URL", "the edge to ask", "URL")
        added.setting("--token", "TOKEN", "the token to show it, where it wants one")
        added.setting("--data-dir", "DATA_DIR", "the data folder of a running `callboard up` (.callboard)", "FOLDER")
        added.setting("--debug", "DEBUG", "show where an error came from", action="store_const", const="true")
        added.add_argument("--json", action="store_true", help="print JSON, one object a line where there are many")
        return added

    attempts = add("attempts", "Lists the posts made for a session, the newest first.", "SESSION [OPTIONS]")
    attempts.add_argument("--event", metavar="ID", help="those that carried this event")
    attempts.add_argument("--result", choices=["ok", "fail"], help="those that came to this")
    attempts.add_argument("--limit", metavar="N", type=int, help="at most so many (20)")
    add("health", "Says how a session's endpoint is.", "SESSION [OPTIONS]")
    resend = add("resend", "Sends one delivery again, under the webhook-id it had.", "SESSION ID [OPTIONS]")
    resend.add_argument("id", metavar="ID", help="the delivery, or the event, as `attempts` shows them")
    recover = add(
        "recover",
        "Sends again all that failed for good since a time. Exits 1 where not all could be.",
        "SESSION --since TIME [OPTIONS]",
    )
    recover.add_argument("--since", metavar="TIME", help="failed since: 10m, 2h, or RFC 3339")
    recover.add_argument("--until", metavar="TIME", help="failed before: 10m, 2h, or RFC 3339")
    recover.add_argument("--rate", metavar="N", type=float, help="at most so many a second (100)")
    recover.add_argument(
        "--wait", action=argparse.BooleanOptionalAction, default=True, help="watch it to its end, or only begin it"
    )
    replay = add(
        "replay",
        "Sends a stretch of the past, whether it was sent before or not.",
        "SESSION (--since TIME | --last N) [OPTIONS]",
    )
    replay.add_argument("--since", metavar="TIME", help="said since: 10m, 2h, or RFC 3339")
    replay.add_argument("--last", metavar="N", type=int, help="the last so many")
    replay.add_argument("--until", metavar="TIME", help="said before: 10m, 2h, or RFC 3339")
    replay.add_argument("--rate", metavar="N", type=float, help="at most so many a second (100)")
    replay.add_argument(
        "--wait", action=argparse.BooleanOptionalAction, default=True, help="watch it to its end, or only begin it"
    )
    rotate = add(
        "rotate", "Makes a new secret and prints it; the old one signs beside it for a while.", "SESSION [OPTIONS]"
    )
    rotate.add_argument("--overlap", metavar="TIME", help="for how long: 10m, 2h (24h)")
    rotate.add_argument(
        "--signing", choices=["hmac-sha256", "ed25519"], help="a shared secret or a private key (the same as now)"
    )
    add("verify", "Asks the receiver whether it wants to be posted to. Exits 1 where it does not.", "SESSION [OPTIONS]")
    add(
        "enable",
        "Lets a disabled or halted endpoint have its events again, the parked ones first.",
        "SESSION [OPTIONS]",
    )
    disable = add("disable", "Lets an endpoint have nothing until it is enabled.", "SESSION [OPTIONS]")
    disable.add_argument("--reason", metavar="TEXT", help="why, for people (operator)")


def _deadletter_commands(parent: Parser) -> None:
    """Adds the commands of `callboard deadletters`."""
    commands = parent.add_subparsers(
        prog="callboard deadletters", dest="what", metavar="COMMAND", required=True, parser_class=Parser,
        help=argparse.SUPPRESS,
    )  # fmt: skip

    def add(name: str, about: str, usage: str, *, id: str | None = None, filters: bool = False) -> Parser:
        added: Parser = commands.add_parser(name, description=about, usage=f"callboard deadletters {name} {usage}")
        if id:
            added.add_argument("id", metavar="ID", nargs="?" if filters else None, help=id)
        if filters:
            for flag, metavar, help in (
                ("origin", "KIND", "webhook, actor or ingest"),
                ("name", "NAME", "a session, an actor, or the stream it was taken from"),
                ("reason", "REASON", "why it was given up: exhausted, gone, rejected, …"),
                ("subject", "PATTERN", "the event's subject, such as 'job.*.progress'"),
                ("event", "ID", "the event's id"),
                ("since", "TIME", "buried since: 10m, 2h, or RFC 3339"),
                ("until", "TIME", "buried before: 10m, 2h, or RFC 3339"),
                ("text", "TEXT", "what stands in the detail, the destination or the event"),
            ):
                added.add_argument(f"--{flag}", metavar=metavar, help=help)
        added.setting("--edge-url", "EDGE_URL", "the edge to ask", "URL")
        added.setting("--token", "TOKEN", "the token to show it, where it wants one")
        added.setting("--data-dir", "DATA_DIR", "the data folder of a running `callboard up` (.callboard)", "FOLDER")
        added.setting("--debug", "DEBUG", "show where an error came from", action="store_const", const="true")
        added.add_argument("--json", action="store_true", help="print JSON, one object a line where there are many")
        return added

    ls = add("ls", "Lists dead letters, the newest first.", "[FILTER…] [OPTIONS]", filters=True)
    ls.add_argument("--limit", metavar="N", type=int, help="at most so many (50)")
    ls.add_argument("--oldest", action="store_true", help="the oldest first")
    add("show", "Shows one dead letter, with its event.", "ID [OPTIONS]", id="its number, as `ls` shows it")
    add("summary", "Counts dead letters by origin, reason and name.", "[OPTIONS]")

    redrive = add(
        "redrive",
        "Sends dead letters again: to the session or the actor that gave each up, and to nobody else. Exits 1 where not "
        "all were sent.",
        "[ID | FILTER… | --all] [OPTIONS]",
        id="the letter, as `ls` shows it",
        filters=True,
    )
    redrive.add_argument("--all", action="store_true", help="all dead letters")
    redrive.add_argument("--dry-run", action="store_true", help="only say what would be done")
    redrive.add_argument("--rate", metavar="N", type=float, help="at most so many a second (100)")
    redrive.add_argument("--limit", metavar="N", type=int, help="send at most so many")
    redrive.add_argument(
        "--force", action="store_true", help="also to disabled endpoints, past open breakers, and for the sixth time"
    )
    redrive.add_argument(
        "--wait", action=argparse.BooleanOptionalAction, default=True, help="watch it to its end, or only begin it"
    )
    add("jobs", "Lists the redrives of the last week.", "[OPTIONS]")
    add("cancel", "Calls a redrive off; what was sent stays sent.", "ID [OPTIONS]", id="the redrive")

    purge = add("purge", "Deletes dead letters for good.", "[FILTER… | --all] [OPTIONS]", filters=True)
    purge.add_argument("--all", action="store_true", help="all dead letters")
    purge.add_argument("--dry-run", action="store_true", help="only say how many")
    purge.add_argument("--yes", action="store_true", help="do not ask")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code: 0, 1 for what went wrong, 2 for what was asked wrongly, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if os.getpid() == 1:
        # The first process of a container: the kernel spares it from every signal that it does not handle.
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        code = _run(arguments)
        if sys.stdout:  # None where it was closed before we began
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


def load(given: argparse.Namespace, *sections: str, adopt: Sequence[str] = (NATS,)) -> Settings:
    """Reads the settings, with what the flags say, and groups of them from a running `callboard up`."""
    flags: dict[str, Found] = {}
    for variable, value in vars(given).items():
        if variable.startswith("CALLBOARD_"):
            text = ",".join(value) if isinstance(value, list) else value
            flags[variable] = Found(text, "flag", vars(given)[f"flag {variable}"])
    return Settings.load(*sections, flags=flags, adopt=adopt)


def _up(given: argparse.Namespace, _: list[str]) -> int:
    from ops.process.up import run_up

    return run_up(load(given, "edge", "identity", adopt=()))


def _edge(given: argparse.Namespace, _: list[str]) -> int:
    from ops.process.roles import run_role, serve_edge

    settings = load(given, "edge", "guard", "identity", adopt=(NATS, *KEYS))
    return run_role(functools.partial(serve_edge, settings), settings, "edge")


def _actor(given: argparse.Namespace, _: list[str]) -> int:
    from actors.catalog import CAST
    from ops.process.roles import play, run_role

    if given.name not in CAST:
        raise Mistakes([f"actor {given.name}: there is no such actor; there are {', '.join(CAST)}"])
    settings = load(given, *SECTIONS.keys() & {given.name})
    return run_role(functools.partial(play, given.name, settings), settings, f"actor {given.name}")


def _simulate(given: argparse.Namespace, _: list[str]) -> int:
    from ops.process.roles import run_role, simulate_octane

    settings = load(given, "simulator")
    return run_role(functools.partial(simulate_octane, settings), settings)


def _publish(given: argparse.Namespace, _: list[str]) -> int:
    from ops.cli.publish import Request, run_publish

    request = Request(given.subject, given.data, given.type, given.key, given.test, given.json)
    return run_publish(load(given), request)


def _tail(given: argparse.Namespace, _: list[str]) -> int:
    from ops.cli.tail import Request, run_tail

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
    from ops.cli.interruptible import run_interruptibly
    from ops.cli.run import run_command
    from ops.process.logs import quietly
    from router.broker import Broker

    quietly(settings.log)

    async def run() -> int:
        # Not opened here: the command starts at once, also where NATS is away.
        broker = Broker(settings.broker, "run", settings.topology)
        return await run_command(
            broker, command, job=given.job, domain=given.domain, name=given.name, quiet=given.quiet, json=given.json
        )

    return run_interruptibly(run())


def _sessions(given: argparse.Namespace, _: list[str]) -> int:
    from ops.cli.sessions import run_sessions

    return run_sessions(load(given, "edge"), json=given.json)


def _deadletters(given: argparse.Namespace, _: list[str]) -> int:
    from ops.cli.deadletters import FIELDS, Request, run_deadletters

    request = Request(
        given.what,
        {name: text for name in FIELDS if (text := getattr(given, name, None)) is not None},
        id=getattr(given, "id", None),
        everything=getattr(given, "all", False),
        limit=getattr(given, "limit", None),
        oldest=getattr(given, "oldest", False),
        dry_run=getattr(given, "dry_run", False),
        rate=getattr(given, "rate", None),
        force=getattr(given, "force", False),
        wait=getattr(given, "wait", True),
        yes=getattr(given, "yes", False),
        json=given.json,
    )
    return run_deadletters(load(given, "edge"), request)


def _webhooks(given: argparse.Namespace, _: list[str]) -> int:
    from ops.cli.webhooks import Request, run_webhooks

    more = {
        name: value
        for name in (
            "id",
            "event",
            "result",
            "limit",
            "since",
            "until",
            "rate",
            "last",
            "overlap",
            "signing",
            "reason",
            "wait",
        )
        if (value := getattr(given, name, None)) is not None
    }
    return run_webhooks(load(given, "edge"), Request(given.what, given.session, json=given.json, **more))


def _streams(given: argparse.Namespace, _: list[str]) -> int:
    from ops.cli.streams import run_streams

    try:
        patience = seconds(given.patience)
    except ValueError as fault:
        raise Mistakes([f"streams --patience {given.patience}: {fault}"]) from None
    return run_streams(load(given), given.what, patience=patience, json=given.json)


def _token(given: argparse.Namespace, _: list[str]) -> int:
    from ops.cli.token import Request, run_token

    request = Request(
        given.subject,
        tuple(given.read or ()),
        tuple(given.publish or ()),
        tuple(given.commands or ()),
        given.operate,
        given.ttl,
        given.json,
    )
    return run_token(load(given, "identity", adopt=KEYS), request)


def _settings(given: argparse.Namespace, _: list[str]) -> int:
    from ops.cli.show import run_settings

    return run_settings(load(given, *SECTIONS, adopt=(NATS, *KEYS)), json=given.json)


def _doctor(given: argparse.Namespace, _: list[str]) -> int:
    from ops.cli.doctor import run_doctor

    return run_doctor(load(given, "edge"), json=given.json)


def _health(given: argparse.Namespace, _: list[str]) -> int:
    from ops.cli.health import run_health

    return run_health(load(given, "edge"))


def _logs(given: argparse.Namespace, _: list[str]) -> int:
    from ops.cli.levels import run_levels

    if given.what and not given.level:
        raise Mistakes(["logs: level needs a logger and a level; as in `callboard logs level edge debug`"])
    return run_levels(load(given, adopt=(INTERNAL,)), given.logger, given.level, json=given.json)


def _version(given: argparse.Namespace, _: list[str]) -> int:
    from ops.cli.show import run_version

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
    "deadletters": _deadletters,
    "webhooks": _webhooks,
    "streams": _streams,
    "token": _token,
    "settings": _settings,
    "doctor": _doctor,
    "health": _health,
    "logs": _logs,
    "version": _version,
}
COMMANDS = tuple(_CALLS)


if __name__ == "__main__":
    sys.exit(main())
