"""`callboard deadletters`: lists, redrives and purges dead letters."""

from __future__ import annotations

import argparse

from ops.cli.flags import Command, Commands, Parser, load

_EXAMPLES = """\
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
"""


def declare(parser: Parser) -> None:
    """Adds the arguments."""
    commands = parser.add_subparsers(
        prog="callboard deadletters", dest="what", metavar="COMMAND", required=True, parser_class=Parser,
        help=argparse.SUPPRESS,
    )  # fmt: skip

    ls = _add(commands, "ls", "Lists dead letters, the newest first.", "[FILTER…] [OPTIONS]", filters=True)
    ls.add_argument("--limit", metavar="N", type=int, help="at most so many (50)")
    ls.add_argument("--oldest", action="store_true", help="the oldest first")
    _add(commands, "show", "Shows one dead letter, with its event.", "ID [OPTIONS]", id="its number, as `ls` shows it")
    _add(commands, "summary", "Counts dead letters by origin, reason and name.", "[OPTIONS]")

    redrive = _add(
        commands,
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
    _add(commands, "jobs", "Lists the redrives of the last week.", "[OPTIONS]")
    _add(commands, "cancel", "Calls a redrive off; what was sent stays sent.", "ID [OPTIONS]", id="the redrive")

    purge = _add(commands, "purge", "Deletes dead letters for good.", "[FILTER… | --all] [OPTIONS]", filters=True)
    purge.add_argument("--all", action="store_true", help="all dead letters")
    purge.add_argument("--dry-run", action="store_true", help="only say how many")
    purge.add_argument("--yes", action="store_true", help="do not ask")


def _add(
    commands: Commands, name: str, about: str, usage: str, *, id: str | None = None, filters: bool = False
) -> Parser:
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
    added.where_the_edge_is()
    added.setting("--debug", "DEBUG", "show where an error came from", action="store_const", const="true")
    added.add_argument("--json", action="store_true", help="print JSON, one object a line where there are many")
    return added


def run(given: argparse.Namespace) -> int:
    """Runs the command and returns its exit code."""
    from ops.cli.deadletters import FIELDS, DeadLetterRequest, run_deadletters

    request = DeadLetterRequest(
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


COMMAND = Command(
    "Deals with deliveries that were given up: what is kept of them, why, and how they are sent again.",
    declare,
    run,
    usage="deadletters COMMAND [OPTIONS]",
    examples=_EXAMPLES,
)
