"""`callboard octane`: shows an Octane, and gives it commands."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Any

from ops.cli.flags import Command, Parser, load

_PIXELS = re.compile(r"[0-9]{1,6}\Z")
_EXAMPLES = """\
examples:
  callboard octane                                       # what the Octane `main` does
  callboard octane pause
  callboard octane camera                                # where it is
  callboard octane camera orbit 0.2 0                    # radians; to the right, and down
  callboard octane camera set --position 0 2 10 --target 0 1 0
  callboard octane region 100 100 500 400
  callboard octane pick 480 270 --what focus
  callboard octane save /renders/today.png --format png16
  callboard octane stats devices --instance left --json
  callboard octane watch

It exits with 1 where the Octane, or its actor, refuses or does not answer, and says why.
"""

Given = argparse.Namespace
Arguments = Callable[[Given], dict[str, Any]]
# What an action orders: a command and its arguments, or None where the Octane is only shown.
Order = Callable[[Given], tuple[str, dict[str, Any]] | None]


def declare(parser: Parser) -> None:
    """Adds the arguments."""
    _options(parser, instance="main", json=False)
    actions = parser.add_subparsers(prog="callboard octane", dest="action", metavar="ACTION", parser_class=Parser)
    for name, about in (
        ("start", "start the render, or go on with a paused one; also after a stop"),
        ("pause", "halt the render where it is"),
        ("stop", "end the render and free its devices"),
        ("restart", "render from no samples; also after a stop"),
    ):
        _gives(_action(actions, name, about), name)
    _declare_camera(actions)
    _declare_regions(actions)
    _declare_choices(actions)
    tonemap = _action(actions, "tonemap", "set exposure, gamma and white balance of the imager; without any, show them")
    tonemap.add_argument("--exposure", type=float)
    tonemap.add_argument("--gamma", type=float)
    tonemap.add_argument("--white-balance", type=float, nargs=3, metavar=("R", "G", "B"), help="0 to 1 each")
    _gives_some(tonemap, "set_tonemap", _those("exposure", "gamma", "white_balance"))
    pick = _action(actions, "pick", "tell what is at a pixel, or focus there, or make its colour white")
    pick.add_argument("x", type=int, metavar="X", help="pixels from the left")
    pick.add_argument("y", type=int, metavar="Y", help="pixels from the top")
    pick.add_argument(
        "--what", choices=["object", "material", "focus", "white_point"], default="object", help="what for (object)"
    )
    _gives(pick, "pick", _those("x", "y", "what"))
    _declare_save(actions)
    _declare_stats(actions)
    _action(actions, "watch", "show the Octane again whenever it changes, until Ctrl-C").set_defaults(watch=True)


def _declare_camera(actions: Any) -> None:
    camera = _action(actions, "camera", "move the camera; without MOVE, show where it is")
    moves = camera.add_subparsers(prog="callboard octane camera", dest="move", metavar="[MOVE]", parser_class=Parser)
    _gives(camera, "get_camera")
    _gives(_action(moves, "get", "show where it is"), "get_camera")
    place = _action(moves, "set", "set it; what is not given stays as it is")
    for name, about in (("position", "where it stands"), ("target", "what it looks at"), ("up", "which way is up")):
        place.add_argument(f"--{name}", type=float, nargs=3, metavar=("X", "Y", "Z"), help=about)
    place.add_argument("--fov", type=float, metavar="DEGREES", help="its field of view")
    _gives(place, "set_camera", _those("position", "target", "up", "fov"))
    for name, about, unit in (
        ("orbit", "turn it around its target, as a pointer does that goes right by DX and down by DY", "radians"),
        ("pan", "move it across its view, likewise", "fractions of the distance to its target"),
    ):
        move = _action(moves, name, about)
        for place_name in ("dx", "dy"):
            move.add_argument(place_name, type=float, metavar=place_name.upper(), help=unit)
        _gives(move, name, _those("dx", "dy"))
    dolly = _action(moves, "dolly", "multiply the distance to its target")
    dolly.add_argument("factor", type=float, metavar="FACTOR", help="less than 1 goes nearer")
    _gives(dolly, "dolly", _those("factor"))
    preset = _action(moves, "preset", "look along an axis")
    preset.add_argument("view", choices=["front", "back", "left", "right", "top", "bottom"])
    _gives(preset, "preset_camera", _those("view"))
    _gives(_action(moves, "reset", "put it back to where it was when the project was opened"), "reset_camera")
    _gives(_action(moves, "undo", "take back its last move, or the last drag"), "undo_camera")


def _declare_regions(actions: Any) -> None:
    for name, word, about in (
        ("region", "region", "render only a part of the picture; `clear` renders all of it"),
        ("film-region", "film_region", "render only a part of the film, in pictures of its size; `clear` renders all"),
    ):
        region = _action(actions, name, about)
        region.add_argument(
            "edges",
            nargs="*",
            metavar="LEFT TOP RIGHT BOTTOM | clear",
            help="in pixels from the top left; without any, show what is set",
        )
        if word == "region":
            region.add_argument("--feather", type=int, metavar="PIXELS", help="the soft edge around it (0)")
        region.set_defaults(order=_region(word))


def _region(word: str) -> Order:
    def order(given: Given) -> tuple[str, dict[str, Any]] | None:
        from ops.settings import Mistakes

        if not given.edges and getattr(given, "feather", None) is None:
            return None
        if given.edges == ["clear"]:
            return f"clear_{word}", {}
        if len(given.edges) != 4 or not all(_PIXELS.match(edge) for edge in given.edges):
            raise Mistakes([f"octane {given.action}: needs LEFT TOP RIGHT BOTTOM in whole pixels, or `clear`"])
        edges = dict(zip(("left", "top", "right", "bottom"), map(int, given.edges), strict=True))
        feather = getattr(given, "feather", None)
        return f"set_{word}", edges if feather is None else {**edges, "feather": feather}

    return order


def _declare_choices(actions: Any) -> None:
    for name, command, argument, choices, about in (
        ("priority", "set_priority", "priority", ("low", "normal", "high"), "set how much of the devices it takes"),
        ("sub-sampling", "set_sub_sampling", "mode", ("none", "2x2", "4x4"), "render fewer pixels, for speed"),
        ("clay", "set_clay_mode", "mode", ("none", "grey", "colour"), "show shapes without materials"),
    ):
        choice = _action(actions, name, about)
        choice.add_argument(argument, nargs="?", choices=choices, help="without it, show what is set")
        _gives_some(choice, command, _those(argument))
    passes = _action(actions, "passes", "choose the render passes that can be watched beside beauty")
    passes.add_argument(
        "passes", nargs="*", metavar="PASS", help="such as z_depth; `beauty` leaves only that; without any, show which"
    )
    _gives_some(passes, "set_passes", lambda given: {"passes": given.passes} if given.passes else {})


def _declare_save(actions: Any) -> None:
    save = _action(actions, "save", "save the picture on the machine that Octane runs on")
    save.add_argument("path", metavar="PATH", help="an absolute path there")
    formats = ["png8", "png16", "exr16", "exr32", "tiff8", "tiff16", "jpeg"]
    save.add_argument("--format", choices=formats, default="png8", help="(png8)")
    save.add_argument("--pass", dest="render_pass", default="beauty", metavar="NAME", help="which render pass (beauty)")
    _gives(save, "save_image", lambda given: {"path": given.path, "format": given.format, "pass": given.render_pass})


def _declare_stats(actions: Any) -> None:
    stats = _action(actions, "stats", "ask about devices, memory, scene and textures")
    stats.add_argument(
        "report",
        nargs="?",
        default="devices",
        choices=["devices", "resources", "geometry", "textures", "compiling"],
        help="which figures (devices)",
    )
    commands = {
        "devices": "device_statistics",
        "resources": "resource_statistics",
        "geometry": "geometry_statistics",
        "textures": "texture_statistics",
        "compiling": "is_compiling",
    }
    stats.set_defaults(order=lambda given: (commands[given.report], {}))


def _action(actions: Any, name: str, about: str) -> Parser:
    """Adds an action. The options may stand behind it, too."""
    added: Parser = actions.add_parser(name, description=f"{about[0].upper()}{about[1:]}.", help=about)
    _options(added, instance=argparse.SUPPRESS, json=argparse.SUPPRESS)
    return added


def _options(parser: Parser, instance: str, json: object) -> None:
    parser.add_argument(
        "--instance", default=instance, metavar="ID", help="which Octane, where there are several (main)"
    )
    parser.add_argument("--json", action="store_true", default=json, help="print JSON")
    parser.where_the_edge_is()


def _gives(parser: Parser, command: str, arguments: Arguments = lambda given: {}) -> None:
    """Lets an action give a command."""
    parser.set_defaults(order=lambda given: (command, arguments(given)))


def _gives_some(parser: Parser, command: str, arguments: Arguments) -> None:
    """Lets an action give a command where it has arguments, and show what is set where it has none."""

    def order(given: Given) -> tuple[str, dict[str, Any]] | None:
        found = arguments(given)
        return (command, found) if found else None

    parser.set_defaults(order=order)


def _those(*names: str) -> Arguments:
    """The arguments of these names that were given."""
    return lambda given: {name: value for name in names if (value := getattr(given, name)) is not None}


def run(given: argparse.Namespace) -> int:
    """Runs the command and returns its exit code."""
    from ops.cli.octane import run_command, run_show, run_watch

    settings = load(given, "edge")
    if getattr(given, "watch", False):
        return run_watch(settings, given.instance, json=given.json)
    order: Order | None = getattr(given, "order", None)
    ordered = order(given) if order is not None else None
    if ordered is None:
        return run_show(settings, given.instance, json=given.json)
    command, arguments = ordered
    return run_command(settings, given.instance, command, arguments, json=given.json)


COMMAND = Command(
    "Shows what an Octane does, and gives it commands: the render, its camera, its pictures.",
    declare,
    run,
    usage="octane [ACTION] [OPTIONS]",
    examples=_EXAMPLES,
)
