"""Asks the edge about cameras, gives them commands, saves stills, and prints what comes of it."""

from __future__ import annotations

import json as jsonlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ops.cli.asking import PATIENCE, ask, read_answer, refusal
from ops.cli.interruptible import run_interruptibly
from ops.settings import Settings
from ops.terminal import Paint, safe, table
from router.errors import RouterError

# Settings of the camera itself; all else is a control of its source.
OWN = {"fps": "set_fps", "quality": "set_quality"}


def run_list(settings: Settings, *, json: bool) -> int:
    """Prints all cameras. Raises RouterError."""
    cameras = run_interruptibly(_cameras(settings))
    if json:
        print(jsonlib.dumps(cameras, indent=2))
        return 0
    if not cameras:
        print("no camera is known at the edge")
        return 0
    paint = Paint.of(sys.stdout)
    rows = [tuple(map(safe, (str(camera.get("id")), _status(camera), _picture(camera)))) for camera in cameras]
    print(table(rows, ("camera", "status", "picture"), paint=paint))
    return 0


def run_show(settings: Settings, instance: str, *, json: bool) -> int:
    """Prints one camera and what it is set to. Raises RouterError."""
    camera = run_interruptibly(_find(settings, instance))
    if json:
        print(jsonlib.dumps(camera, indent=2))
        return 0
    print(table(list(_rows(camera)), paint=Paint.of(sys.stdout)))
    return 0


def run_commands(settings: Settings, instance: str, *, json: bool) -> int:
    """Prints the commands that a camera takes, with their arguments. Raises RouterError."""
    commands = run_interruptibly(_commands(settings, instance))
    if json:
        print(jsonlib.dumps(commands, indent=2))
        return 0
    rows = [(safe(str(each.get("name"))), safe(_arguments(each)), safe(str(each.get("about")))) for each in commands]
    print(table(rows, ("command", "arguments", "does"), paint=Paint.of(sys.stdout)))
    return 0


def run_command(settings: Settings, instance: str, command: str, arguments: Mapping[str, Any], *, json: bool) -> int:
    """Gives a command, and prints what the camera answers. Raises RouterError."""
    path = f"/commands/camera/{quote(instance, safe='')}/{quote(command, safe='')}?timeout={PATIENCE}"
    answer = run_interruptibly(ask(settings, path, jsonlib.dumps(arguments).encode()))
    said = read_answer(answer)
    if answer.status != 200:
        raise refusal(settings, answer, said)
    if json or not isinstance(said, dict):
        print(jsonlib.dumps(said, indent=2))
        return 0
    if said.get("note"):
        print(safe(str(said["note"])))
    print(table(list(_answer(said)), paint=Paint.of(sys.stdout)))
    return 0


def run_set(settings: Settings, instance: str, name: str, value: Any, *, json: bool) -> int:
    """Sets the rate, the quality, or a control of the source. Raises RouterError."""
    if (command := OWN.get(name)) is not None:
        return run_command(settings, instance, command, {name: value}, json=json)
    return run_command(settings, instance, "set_control", {"name": name, "value": value}, json=json)


def run_still(settings: Settings, instance: str, path: Path, max_age: float | None, *, json: bool) -> int:
    """Saves the next picture of a camera: as PNG where the file is named so, else as JPEG. Raises RouterError."""
    suffix = "png" if path.suffix.lower() == ".png" else "jpg"
    query = "" if max_age is None else f"?max_age={max_age:g}"
    answer = run_interruptibly(ask(settings, f"/cameras/{quote(instance, safe='')}/still.{suffix}{query}"))
    if answer.status != 200:
        raise refusal(settings, answer, read_answer(answer))
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(answer.body)
        os.replace(part, path)
    except OSError as fault:
        part.unlink(missing_ok=True)
        raise RouterError(f"{path} could not be written: {fault.strerror or fault}") from None
    told = {"file": str(path), "bytes": len(answer.body), "captured": answer.headers.get("x-capture-time", "unknown")}
    print(jsonlib.dumps(told) if json else safe(f"{path}: {told['bytes']} bytes, captured {told['captured']}"))
    return 0


async def _cameras(settings: Settings) -> list[dict[str, Any]]:
    answer = await ask(settings, "/cameras")
    match said := read_answer(answer):
        case {"cameras": list(listed)} if answer.status == 200:
            return [each for each in listed if isinstance(each, dict)]
        case _:
            raise refusal(settings, answer, said)


async def _find(settings: Settings, instance: str) -> dict[str, Any]:
    cameras = {str(camera.get("id")): camera for camera in await _cameras(settings)}
    if instance not in cameras:
        hint = f"; there are {', '.join(cameras)}" if cameras else ", and no other either"
        raise RouterError(safe(f"no camera {instance} is known at the edge{hint}"))
    return cameras[instance]


async def _commands(settings: Settings, instance: str) -> list[dict[str, Any]]:
    answer = await ask(settings, "/commands")
    match said := read_answer(answer):
        case {"commands": list(listed)} if answer.status == 200:
            found = [each for each in listed if isinstance(each, dict)]
        case _:
            raise refusal(settings, answer, said)
    own = [each for each in found if each.get("actor") == "camera" and each.get("instance") == instance]
    if not own:
        raise RouterError(safe(f"no camera {instance} takes commands now, or the token may give it none"))
    return own


def _arguments(command: Mapping[str, Any]) -> str:
    schema = command.get("schema")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    needed = schema.get("required", []) if isinstance(schema, dict) else []
    names = properties if isinstance(properties, dict) else {}
    return " ".join(f"{name}=…" if name in needed else f"[{name}=…]" for name in names)


def _rows(camera: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "camera", safe(str(camera.get("id")))
    yield "status", safe(_status(camera))
    where = next((camera[key] for key in ("host", "device", "file", "serial") if camera.get(key)), "")
    yield "source", safe(f"{camera.get('source', 'unknown')} {where}".strip())
    yield "picture", safe(_picture(camera))
    statistics = camera.get("statistics")
    if isinstance(statistics, dict):
        yield "viewers", safe(str(statistics.get("viewers", "?")))
    controls = camera.get("controls")
    yield from _answer(controls if isinstance(controls, dict) else camera)


def _answer(said: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a command came to: the rate, the quality and the controls, or whatever the camera answered."""
    for name in ("fps", "quality"):
        if name in said:
            yield name, safe(str(said[name]))
    controls = said.get("controls")
    if isinstance(controls, dict):
        for name, control in controls.items():
            if isinstance(control, dict):
                yield safe(name), safe(_control(control))
    refused = said.get("refused")
    for name, reason in refused.items() if isinstance(refused, dict) else ():
        yield safe(f"{name} (left out)"), safe(str(reason))
    if "fps" not in said:
        for name, value in said.items():
            yield safe(name), safe(value if isinstance(value, str) else jsonlib.dumps(value))


def _control(control: Mapping[str, Any]) -> str:
    value, least, most = control.get("value"), control.get("least"), control.get("most")
    if control.get("kind") == "button":
        return "(a button: press it by `set`)"
    shown = _value(value)
    unit = f" {control['unit']}" if control.get("unit") else ""
    if control.get("kind") == "number" and least is not None and most is not None:
        return f"{shown}{unit} ({_value(least)} to {_value(most)})"
    choices = control.get("choices")
    known = f" ({', '.join(map(_value, choices))})" if isinstance(choices, list) and choices else ""
    return f"{shown}{unit}{known}"


def _value(value: Any) -> str:
    match value:
        case {"left": left, "top": top, "width": width, "height": height}:
            return f"{width}x{height}+{left}+{top}"
        case {"width": width, "height": height}:
            return f"{width}x{height}"
        case bool():
            return "on" if value else "off"
        case float():
            return f"{value:g}"
    return str(value)


def _status(camera: Mapping[str, Any]) -> str:
    reason = camera.get("reason")
    return f"{camera.get('status', 'unknown')}{f': {reason}' if reason else ''}"


def _picture(camera: Mapping[str, Any]) -> str:
    size = f"{camera['width']}x{camera['height']}" if camera.get("width") else "size unknown"
    return f"{size} at {camera.get('fps', '?')} fps{', simulated' if camera.get('simulated') else ''}"
