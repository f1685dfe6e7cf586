"""Prints what a person may open and type once `callboard up` is ready; each line works as it is pasted, in any folder."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from ops.environment import DEFAULT_DATA_DIR
from ops.process.cameras import CAMERA, CameraPlace, configured_cameras
from ops.process.datadir import DataFolder
from ops.process.octanes import OCTANE, OctanePlace, configured_octanes
from ops.settings import Settings
from ops.terminal import Paint, table


@dataclass(frozen=True)
class Ready:
    """What runs after the start. `missing` names the processes that are not ready; `edge` and `nats` are addresses."""

    cast: Sequence[str]
    missing: Collection[str]
    seconds: float
    server_version: str
    folder: DataFolder
    edge: str | None
    nats: str
    session: str | None  # one that can be read


def announce(ready: Ready, settings: Settings) -> None:
    """Prints what runs, and what to open and try."""
    paint = Paint.of(sys.stdout)
    here = [name for name in ready.cast if name not in ready.missing]
    names = ", ".join("simulator (a simulated Octane)" if name == "simulator" else name for name in here)
    after = f"after {ready.seconds:.1f} s"
    if ready.missing:
        print(f"\n{paint('Callboard is not ready', 'bold', 'yellow')} {after}; nats-server {ready.server_version}")
        print(f"{paint('Not ready yet:', 'yellow')} {', '.join(sorted(ready.missing))}; see {ready.folder.logs}")
        if here:
            print(f"Ready: {names}")
    else:
        print(f"\n{paint('Callboard is ready', 'bold', 'green')} {after}: {names}; nats-server {ready.server_version}")
    print()
    rows = hints(settings, ready.cast, ready.folder.path, ready.edge, ready.nats, ready.session)
    print(table([(paint(what, "dim"), paint(how, "cyan")) for what, how in rows], indent="  "))
    print("\nCtrl-C ends it; the data stays.", flush=True)


def hints(
    settings: Settings, cast: Collection[str], folder: Path, edge: str | None, nats: str, session: str | None
) -> list[tuple[str, str]]:
    """Pairs what there is to do with how; `edge` and `nats` are addresses, `session` one that is there to be read."""
    keys = settings.section("identity")
    # With several of us, or a data folder of its own, a command is told which one is meant.
    several = Path(DEFAULT_DATA_DIR).resolve() != folder.resolve() or len(settings.register().running()) > 1
    which = f" --data-dir {shlex.quote(str(folder.resolve()))}" if several else ""

    def command(name: str, rest: str = "") -> str:
        return f"{shlex.quote(own_name())} {name}{which}{rest}"

    rows: list[tuple[str, str]] = []
    if edge and keys.secret:
        rights = " --read '>' --publish '>' --operate"
        rows.append(("a token", f"export CALLBOARD_TOKEN=$({command('token', rights)})"))
    if edge:
        rows += [("open", f"{edge}/"), ("API", f"{edge}/docs")]
        # A page that wants a token asks for it; a picture has no place to type one.
        if not keys.configured:
            cameras = configured_cameras(settings) or ({CAMERA: CameraPlace("main", "")} if CAMERA in cast else {})
            rows += [("camera", f"{edge}/cameras/{cameras[each].instance}/mjpeg") for each in cameras if each in cast]
            octanes = configured_octanes(settings) or ({OCTANE: OctanePlace("main", "")} if OCTANE in cast else {})
            rows += [("render", f"{edge}/octane/{octanes[each].instance}/mjpeg") for each in octanes if each in cast]
        if session:
            proof = ' -H "Authorization: Bearer $CALLBOARD_TOKEN"' if keys.configured else ""
            rows.append(("events", f"curl -N{proof} '{edge}/callbacks/sessions/{session}/sse?last=5'"))
    rows.append(("follow", command("tail", " '>'")))
    if "agent" in cast:
        job = """sh -c 'for i in 25 50 75 100; do echo "$i%"; sleep 1; done'"""
        rows.append(("a job", command("run", f" -- {job}")))
    return [*rows, ("check", command("doctor")), ("nats", public(nats)), ("data", f"{folder} (logs in logs/)")]


def own_name() -> str:
    """Says what to type for the command here: its name where the shell finds it, else its path."""
    beside = Path(sys.executable).parent / "callboard"
    found = shutil.which("callboard")
    return "callboard" if found and Path(found).resolve() == beside.resolve() else str(beside)


def public(url: str) -> str:
    """Writes a NATS address without the credentials it may carry."""
    return re.sub(r"://[^@/]*@", "://***@", url)
