"""`callboard webhooks`: looks after one session's webhook."""

from __future__ import annotations

import argparse

from ops.cli.flags import Command, Commands, Parser, load

_EXAMPLES = """\
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
"""


def declare(parser: Parser) -> None:
    """Adds the commands and their arguments."""
    commands = parser.add_subparsers(
        prog="callboard webhooks", dest="what", metavar="COMMAND", required=True, parser_class=Parser,
        help=argparse.SUPPRESS,
    )  # fmt: skip
    _declare_attempts(commands)
    _declare_again(commands)
    _declare_endpoint(commands)


def _declare_attempts(commands: Commands) -> None:
    """What was posted, and how the endpoint is."""
    attempts = _add(commands, "attempts", "Lists the posts made for a session, the newest first.", "SESSION [OPTIONS]")
    attempts.add_argument("--event", metavar="ID", help="those that carried this event")
    attempts.add_argument("--result", choices=["ok", "fail"], help="those that came to this")
    attempts.add_argument("--limit", metavar="N", type=int, help="at most so many (20)")
    _add(commands, "health", "Says how a session's endpoint is.", "SESSION [OPTIONS]")


def _declare_again(commands: Commands) -> None:
    """What is sent again."""
    resend = _add(commands, "resend", "Sends one delivery again, under the webhook-id it had.", "SESSION ID [OPTIONS]")
    resend.add_argument("id", metavar="ID", help="the delivery, or the event, as `attempts` shows them")
    recover = _add(
        commands,
        "recover",
        "Sends again all that failed for good since a time. Exits 1 where not all could be.",
        "SESSION --since TIME [OPTIONS]",
    )
    recover.add_argument("--since", metavar="TIME", help="failed since: 10m, 2h, or RFC 3339")
    recover.add_argument("--until", metavar="TIME", help="failed before: 10m, 2h, or RFC 3339")
    replay = _add(
        commands,
        "replay",
        "Sends a stretch of the past, whether it was sent before or not.",
        "SESSION (--since TIME | --last N) [OPTIONS]",
    )
    replay.add_argument("--since", metavar="TIME", help="said since: 10m, 2h, or RFC 3339")
    replay.add_argument("--last", metavar="N", type=int, help="the last so many")
    replay.add_argument("--until", metavar="TIME", help="said before: 10m, 2h, or RFC 3339")
    for each in (recover, replay):
        each.add_argument("--rate", metavar="N", type=float, help="at most so many a second (100)")
        each.add_argument(
            "--wait", action=argparse.BooleanOptionalAction, default=True, help="watch it to its end, or only begin it"
        )


def _declare_endpoint(commands: Commands) -> None:
    """What changes the endpoint."""
    rotate = _add(
        commands,
        "rotate",
        "Makes a new secret and prints it; the old one signs beside it for a while.",
        "SESSION [OPTIONS]",
    )
    rotate.add_argument("--overlap", metavar="TIME", help="for how long: 10m, 2h (24h)")
    rotate.add_argument(
        "--signing", choices=["hmac-sha256", "ed25519"], help="a shared secret or a private key (the same as now)"
    )
    _add(
        commands,
        "verify",
        "Asks the receiver whether it wants to be posted to. Exits 1 where it does not.",
        "SESSION [OPTIONS]",
    )
    _add(
        commands,
        "enable",
        "Lets a disabled or halted endpoint have its events again, the parked ones first.",
        "SESSION [OPTIONS]",
    )
    disable = _add(commands, "disable", "Lets an endpoint have nothing until it is enabled.", "SESSION [OPTIONS]")
    disable.add_argument("--reason", metavar="TEXT", help="why, for people (operator)")


def _add(commands: Commands, name: str, about: str, usage: str) -> Parser:
    added: Parser = commands.add_parser(name, description=about, usage=f"callboard webhooks {name} {usage}")
    added.add_argument("session", metavar="SESSION", help="the session, as `callboard sessions` shows it")
    added.where_the_edge_is()
    added.setting("--debug", "DEBUG", "show where an error came from", action="store_const", const="true")
    added.add_argument("--json", action="store_true", help="print JSON, one object a line where there are many")
    return added


# fmt: off
_OPTIONS = (
    "id", "event", "result", "limit", "since", "until", "rate", "last", "overlap", "signing", "reason", "wait",
)
# fmt: on


def run(given: argparse.Namespace) -> int:
    """Runs the command and returns its exit code."""
    from ops.cli.webhooks import WebhookRequest, run_webhooks

    more = {name: value for name in _OPTIONS if (value := getattr(given, name, None)) is not None}
    return run_webhooks(load(given, "edge"), WebhookRequest(given.what, given.session, json=given.json, **more))


COMMAND = Command(
    "Looks after the webhook of one session: what was posted, how its endpoint is, what is sent again.",
    declare,
    run,
    usage="webhooks COMMAND SESSION [OPTIONS]",
    examples=_EXAMPLES,
)
