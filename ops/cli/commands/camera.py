"""`callboard camera`: lists cameras, shows one, sets it, saves stills, and gives it any other command."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ops.cli.flags import Command, Parser, load

_EXAMPLES = """\
examples:
  callboard camera                                       # all cameras
  callboard camera show                                  # what the camera `main` does and is set to
  callboard camera set fps 15 --instance door
  callboard camera set exposure 0.01                     # a control of its source
  callboard camera set region '{"left": 0, "top": 0, "width": 640, "height": 480}'
  callboard camera still today.png                       # the next picture
  callboard camera record --seconds 60
  callboard camera commands                              # all that it can be told
  callboard camera give auto_exposure

It exits with 1 where the camera, or its actor, refuses or does not answer, and says why.
"""


def declare(parser: Parser) -> None:
    """Adds the arguments."""
    _options(parser, instance="main", json=False)
    actions = parser.add_subparsers(prog="callboard camera", dest="action", metavar="ACTION", parser_class=Parser)
    _action(actions, "list", "list all cameras")
    _action(actions, "show", "show what a camera does, and what it is set to")
    setting = _action(actions, "set", "set the frame rate, the JPEG quality, or a control of the source")
    setting.add_argument("name", metavar="NAME", help="fps, quality, or a control as `show` names it")
    setting.add_argument("value", metavar="VALUE", nargs="?", default="true", help="as JSON, or a text")
    still = _action(actions, "still", "save the next picture")
    still.add_argument("path", type=Path, metavar="FILE", help="PNG where its name ends so, else JPEG")
    still.add_argument("--max-age", type=float, metavar="SECONDS", help="a picture may be so old")
    record = _action(actions, "record", "begin a recording")
    record.add_argument("--seconds", type=float, help="for how long; until `stop` without it")
    record.add_argument("--label", metavar="TEXT", help="what it is of")
    _action(actions, "stop", "end the recording")
    _action(actions, "commands", "list all commands that it takes")
    give = _action(actions, "give", "give any of them")
    give.add_argument("order", metavar="COMMAND", help="as `commands` lists it")
    give.add_argument("arguments", nargs="*", metavar="NAME=VALUE", help="values as JSON, or texts")


def _action(actions: Any, name: str, about: str) -> Parser:
    """Adds an action. The options may stand behind it, too."""
    added: Parser = actions.add_parser(name, description=f"{about[0].upper()}{about[1:]}.", help=about)
    _options(added, instance=argparse.SUPPRESS, json=argparse.SUPPRESS)
    return added


def _options(parser: Parser, instance: str, json: object) -> None:
    parser.add_argument("--instance", default=instance, metavar="ID", help="which camera (main)")
    parser.add_argument("--json", action="store_true", default=json, help="print JSON")
    parser.where_the_edge_is()


def run(given: argparse.Namespace) -> int:
    """Runs the command and returns its exit code."""
    from ops.cli.camera import run_command, run_commands, run_list, run_set, run_show, run_still
    from ops.settings import Mistakes

    settings, instance, as_json = load(given, "edge"), given.instance, given.json
    match given.action:
        case "show":
            return run_show(settings, instance, json=as_json)
        case "set":
            return run_set(settings, instance, given.name, _value(given.value), json=as_json)
        case "still":
            return run_still(settings, instance, given.path, given.max_age, json=as_json)
        case "record":
            wishes = {"seconds": given.seconds, "label": given.label}
            asked = {name: value for name, value in wishes.items() if value is not None}
            return run_command(settings, instance, "start_recording", asked, json=as_json)
        case "stop":
            return run_command(settings, instance, "stop_recording", {}, json=as_json)
        case "commands":
            return run_commands(settings, instance, json=as_json)
        case "give":
            pairs = [each.partition("=") for each in given.arguments]
            if wrong := [name for name, sign, _ in pairs if not sign or not name]:
                raise Mistakes([f"camera give: {wrong[0]} needs a value: NAME=VALUE"])
            arguments = {name: _value(value) for name, _, value in pairs}
            return run_command(settings, instance, given.order, arguments, json=as_json)
    return run_list(settings, json=as_json)


def _value(text: str) -> Any:
    """A value as JSON; a text where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text


COMMAND = Command(
    "Lists the cameras, shows what one does, sets it, records it, and saves stills.",
    declare,
    run,
    usage="camera [ACTION] [OPTIONS]",
    examples=_EXAMPLES,
)
