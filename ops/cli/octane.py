"""Asks the edge about an Octane, gives it commands, and prints what comes of it."""

from __future__ import annotations

import asyncio
import json as jsonlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from ops.cli.asking import PATIENCE, ask, read_answer, refusal
from ops.cli.interruptible import run_interruptibly
from ops.settings import Settings
from ops.terminal import Paint, StatusLine, bar, safe, table
from router.errors import RouterError

WATCH_SECONDS = 0.5


def run_show(settings: Settings, instance: str, *, json: bool) -> int:
    """Prints what an Octane does. Raises RouterError."""
    octane, others = run_interruptibly(_find(settings, instance))
    if json:
        print(jsonlib.dumps(octane, indent=2))
        return 0
    print(table(list(_rows(octane)), paint=Paint.of(sys.stdout)))
    if others:
        print(f"\nothers: {safe(', '.join(others))} (--instance ID)")
    return 0


def run_watch(settings: Settings, instance: str, *, json: bool) -> int:
    """Prints an Octane again whenever it changes, until Ctrl-C. Raises RouterError."""
    run_interruptibly(_watch(settings, instance, json))
    return 0


def run_command(settings: Settings, instance: str, command: str, arguments: Mapping[str, Any], *, json: bool) -> int:
    """Gives a command, and prints what it led to. Raises RouterError."""
    path = f"/commands/octane/{quote(instance, safe='')}/{command}?timeout={PATIENCE}"
    answer = run_interruptibly(ask(settings, path, jsonlib.dumps(arguments).encode()))
    said = read_answer(answer)
    if answer.status != 200 or not isinstance(said, dict):
        raise refusal(settings, answer, said)
    if json:
        print(jsonlib.dumps(said, indent=2))
        return 0
    paint = Paint.of(sys.stdout)
    result = said.get("result")
    if isinstance(result, dict) and result:
        print(table(list(_flat(result)), paint=paint))
        print()
    print(table(list(_controls(said)), paint=paint))
    return 0


async def _find(settings: Settings, instance: str) -> tuple[dict[str, Any], list[str]]:
    """An Octane by its name, and the names of the others. Raises RouterError."""
    answer = await ask(settings, "/octanes")
    match said := read_answer(answer):
        case {"octanes": list(listed)} if answer.status == 200:
            octanes = {str(each.get("id")): each for each in listed if isinstance(each, dict)}
        case _:
            raise refusal(settings, answer, said)
    others = [each for each in octanes if each != instance]
    if instance not in octanes:
        hint = f"; there are {', '.join(others)}" if others else ", and no other either"
        raise RouterError(safe(f"no octane {instance} is known at the edge{hint}"))
    return octanes[instance], others


async def _watch(settings: Settings, instance: str, json: bool) -> None:
    line, shown = StatusLine(sys.stderr), ""
    try:
        while True:
            octane, _ = await _find(settings, instance)
            text = jsonlib.dumps(octane) if json else _line(octane)
            if text != shown:
                if json or not sys.stderr.isatty():
                    print(text, flush=True)
                else:
                    line.show(text)
                shown = text
            await asyncio.sleep(WATCH_SECONDS)
    finally:
        line.clear()


def _rows(octane: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """An Octane in full: what it is, how far its render is, and what it is set to."""
    name = " ".join(str(octane[key]) for key in ("name", "version") if octane.get(key))
    yield "octane", safe(f"{octane.get('id')}: {name or 'unknown'} at {octane.get('address', '?')}")
    yield "status", safe(_status(octane))
    statistics = octane.get("statistics")
    if isinstance(statistics, dict):
        yield "render", safe(_progress(statistics))
        yield "size", f"{_number(statistics, 'width')} x {_number(statistics, 'height')}"
    controls = octane.get("controls")
    if isinstance(controls, dict):
        yield from _controls(controls, render=not isinstance(statistics, dict))


def _controls(controls: Mapping[str, Any], *, render: bool = True) -> Iterator[tuple[str, str]]:
    """What an Octane is set to."""
    if render:
        yield (
            "render",
            safe(f"{controls.get('render')}, {controls.get('samples')}/{controls.get('max_samples')} samples"),
        )
    camera = controls.get("camera")
    if isinstance(camera, dict):
        by = controls.get("camera_by")
        where = f"{_point(camera.get('position'))} to {_point(camera.get('target'))}, fov {_plain(camera.get('fov'))}"
        yield "camera", safe(f"{where}{f', moved by {by}' if by else ''}")
    for name in ("region", "film_region"):
        region = controls.get(name)
        if isinstance(region, dict):
            left, top, right, bottom = (region.get(edge) for edge in ("left", "top", "right", "bottom"))
            yield name.replace("_", " "), safe(f"{left},{top} to {right},{bottom}")
    for name in ("priority", "sub_sampling", "clay_mode"):
        yield name.replace("_", " "), safe(_plain(controls.get(name)))
    tonemap = controls.get("tonemap")
    if isinstance(tonemap, dict) and tonemap:
        yield "tonemap", safe(", ".join(f"{name.replace('_', ' ')} {_plain(value)}" for name, value in tonemap.items()))
    yield "passes", safe(_plain(controls.get("passes")))


def _status(octane: Mapping[str, Any]) -> str:
    text = str(octane.get("status", "unknown"))
    if octane.get("reason"):
        text += f": {octane['reason']}"
    picture = octane.get("picture")
    if picture and picture != "live":
        reason = octane.get("picture_reason")
        text += f" (picture {picture}{f': {reason}' if reason else ''})"
    return text


def _progress(statistics: Mapping[str, Any]) -> str:
    speed = statistics.get("samples_per_second")
    fast = f", {speed / 1e6:.1f} Ms/s" if isinstance(speed, int | float) and speed else ""
    return f"{statistics.get('state')}, {_number(statistics, 'samples')}/{_number(statistics, 'max_samples')} samples{fast}"


def _line(octane: Mapping[str, Any]) -> str:
    """An Octane in one line."""
    statistics = octane.get("statistics")
    figures: Mapping[str, Any] = statistics if isinstance(statistics, dict) else {}
    done = figures.get("progress")
    share = f"{bar(done)} " if isinstance(done, int | float) else ""
    return safe(f"{octane.get('id')}: {_status(octane)}, {share}{_progress(figures) if figures else ''}")


def _flat(result: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """What a command found, one figure a row."""
    for name, value in result.items():
        path = f"{before}{name.replace('_', ' ')}"
        if isinstance(value, dict):
            yield from _flat(value, f"{path} ")
        elif isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
            for place, each in enumerate(value):
                yield from _flat(each, f"{path.removesuffix('s')} {each.get('index', place)} ")
        else:
            yield safe(path), safe(_plain(value))


def _number(figures: Mapping[str, Any], name: str) -> str:
    return str(figures.get(name, "?"))


def _point(value: Any) -> str:
    return f"({', '.join(_plain(each) for each in value)})" if isinstance(value, list) else "?"


def _plain(value: Any) -> str:
    match value:
        case None:
            return "unknown"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case list():
            return ", ".join(map(_plain, value)) or "none"
    return str(value)
