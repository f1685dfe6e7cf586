"""What the README says of the way of one event, compared with the way that one takes."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from tests.edge.conftest import RunningEdge, edge, edge_factory  # noqa: F401
from tests.waiting import eventually

ROOT = Path(__file__).parents[1]
# What reads from NATS meanwhile has nothing to do with an event that is on its way there.
_READING = frozenset({"receive", "feed_rest", "express", "_express", "_count", "parse", "_process_msg"})
_FILE = re.compile(r"`([a-z_/]+\.py)`")


def _text(title: str) -> str:
    """A section of the README."""
    return (ROOT / "README.md").read_text(encoding="utf-8").partition(f"## {title}\n")[2].partition("\n## ")[0]


def _section(title: str, paragraph: str) -> list[str]:
    """The files that a paragraph of the README names, in their order, each once."""
    section = _text(title)
    found = next(part for part in section.split("\n\n") if part.strip().startswith(f"**{paragraph}.**"))
    return list(dict.fromkeys(_FILE.findall(found)))


class Walk:
    """The files of this project in which functions were called, in the order of their first call."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self.inward: list[str] = []
        self.outward: list[str] = []
        self._into: list[str] | None = None

    def __call__(self, frame: FrameType, event: str, _arg: Any) -> None:
        if event != "call":
            return
        name = frame.f_code.co_name
        if name == "publish_events" and not self.inward:
            self.inward.append("edge/http/ingest.py")
        elif name == "parse" and frame.f_code.co_filename.endswith("http/ingest.py"):
            # From here until it is sent nothing else has a turn.
            self._into = self.inward
        elif (
            name == "receive"
            and frame.f_code.co_filename.endswith("router/live_subscription.py")
            and str(frame.f_locals.get("subject", "")).endswith(self._subject)
        ):
            self._into = self.outward
            self._visit(frame.f_back)
        elif name in _READING and self._into is self.inward:
            return
        self._visit(frame)

    def _visit(self, frame: FrameType | None) -> None:
        if frame is None or self._into is None or not frame.f_code.co_filename.startswith(str(ROOT)):
            return
        name = Path(frame.f_code.co_filename).relative_to(ROOT).as_posix()
        if name not in self._into:
            self._into.append(name)


@contextmanager
def walking(subject: str) -> Iterator[Walk]:
    walk = Walk(subject)
    before = sys.getprofile()
    sys.setprofile(walk)
    try:
        yield walk
    finally:
        sys.setprofile(before)


def test_the_files_on_the_way_of_an_event_exist() -> None:
    named = [name for part in ("In", "Out", "Beside") for name in _section("Follow one event", part)]

    assert named and [name for name in named if not (ROOT / name).is_file()] == []


async def test_an_event_takes_the_way_that_the_readme_says(edge: RunningEdge, entity: str) -> None:  # noqa: F811
    inward, outward = _section("Follow one event", "In"), _section("Follow one event", "Out")
    # Named in passing: an actor's way, and where the stream is declared.
    inward = [name for name in inward if name not in ("actors/system/context.py", "router/topology.py")]
    session = await edge.session(subjects=[f"job.{entity}.>"])
    async with edge.socket(session) as socket:
        await socket.control("ready")

        async def as_told() -> bool:
            with walking(f"job.{entity}.output") as walk:
                await edge.numbers(entity, 1)
                await socket.events(1)
            assert [name for name in walk.inward if name in inward] == inward
            assert [name for name in walk.outward if name in outward] == outward
            return True

        # Until its reader has caught up an event takes another way.
        await eventually(as_told)


def test_the_architecture_is_told_in_sixty_lines_of_floors_and_types_that_there_are() -> None:
    text = _text("Architecture")
    types = re.findall(r"`([A-Z]\w+)` \(`([a-z_/]+\.py)`\)", text)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    floors = next(each["layers"] for each in contracts if each["name"] == "the floors of edge/")
    told = text.partition("```\n")[2].partition("```")[0].splitlines()

    assert text.count("\n") <= 60
    assert len(types) == 15  # Problem and Disconnect are one line
    for name, module in types:
        assert re.search(rf"^class {name}\b", (ROOT / module).read_text(encoding="utf-8"), re.MULTILINE), name
    assert len(told) == len(floors)
    for line, floor in zip(told, floors, strict=True):
        rooms = re.findall(r"(\w+)(?:/|\.py)", line)
        assert set(rooms) <= set(re.split(r" [|:] ", floor)), (line, floor)


def test_what_a_contributor_is_told_to_touch_exists() -> None:
    named = re.findall(r"`((?:actors|edge|router|ops)/[a-z_/.]*)`", _text("Contributing"))

    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
