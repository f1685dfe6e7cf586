"""Runs the whole system for tests: `callboard up`, a tree of real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from ops.launch import own_argv
from router.nats.embedded import free_port
from tests.ops.command import ROOT, environment, family
from tests.waiting import PATIENCE

READY = "Ctrl-C ends it"
READY_SECONDS, END_SECONDS = 2 * PATIENCE, PATIENCE


class RunningCallboard:
    """A `callboard up` that is ready. Commands that are to find it get `environment`."""

    def __init__(self, process: subprocess.Popen[bytes], data_dir: Path, log: Path) -> None:
        self.pid = process.pid
        self.data_dir = data_dir
        self.nats_url = (data_dir / "nats.url").read_text().strip()
        self.port = int((data_dir / "edge.url").read_text().rsplit(":", 1)[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = environment({"CALLBOARD_DATA_DIR": str(data_dir), "PYTHONUNBUFFERED": "1"})
        self._log = log

    @property
    def said(self) -> str:
        """What it has printed so far."""
        return self._log.read_text(errors="replace")

    def children(self) -> dict[str, int]:
        """The processes it watches over, by their names: edge, octane, camera, agent, alerts, simulator, nats-server."""
        found = {}
        for pid in map(int, Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()):
            with contextlib.suppress(OSError):
                if name := _name((Path(f"/proc/{pid}/cmdline").read_bytes()).decode(errors="replace").split("\0")):
                    found[name] = pid
        return found

    def log_of(self, child: str) -> str:
        """What a child has logged."""
        return (self.data_dir / "logs" / f"{child}.log").read_text(errors="replace")

    def command(self, *arguments: str) -> list[str]:
        """The words that run a `callboard` command."""
        return own_argv(*arguments)

    def callboard(self, *arguments: str, stdin: str = "") -> str:
        """Runs a command against it to its end, which must be a good one; what it printed."""
        done = subprocess.run(
            self.command(*arguments),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            cwd=ROOT,
            env=self.environment,
            check=False,
        )
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout


def _name(words: list[str]) -> str | None:
    """Which child a command line belongs to."""
    if words[0].endswith("nats-server"):
        return "nats-server"
    if "ops" not in words[1:-1]:
        return None
    role, *more = words[words.index("ops") + 1 :]
    return {"edge": "edge", "actor": more[0] if more else None, "simulate": "simulator"}.get(role)


@contextlib.contextmanager
def running_tree(folder: Path, *arguments: str, **variables: str) -> Iterator[RunningCallboard]:
    """Runs `callboard up` on free ports while the block runs; fails where one of its processes outlives it.

    Variables are given without their prefix: `CAMERA_FPS="5"`.
    """
    data_dir, log = folder / "data", folder / "up.log"
    # The demo's renders are no runs: readers of all progress, as the guides' samples are, expect that of their own.
    quiet = {"OCTANE_RENDER_SETTLE": "3600"}
    variables = {"EMBEDDED_PORT": str(free_port()), "SIMULATOR_PORT": str(free_port()), **quiet, **variables}
    with (
        log.open("wb") as out,
        subprocess.Popen(
            own_argv("up", "--port", "0", "--data-dir", str(data_dir), *arguments),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=environment({f"CALLBOARD_{name}": value for name, value in variables.items()}),
        ) as process,
    ):
        try:
            deadline = time.monotonic() + READY_SECONDS
            while READY not in (said := log.read_text(errors="replace")):
                assert process.poll() is None, f"callboard up ended with {process.returncode}: {said}"
                assert time.monotonic() < deadline, f"callboard up is not ready: {said}"
                time.sleep(0.02)
            yield RunningCallboard(process, data_dir, log)
        finally:
            _end(process, data_dir)


def _end(process: subprocess.Popen[bytes], data_dir: Path) -> None:
    """Ends the tree as Ctrl-C does; whoever is left then is killed, and named."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    # Where it was killed, its children notice and go.
    deadline = time.monotonic() + PATIENCE
    while (left := family(data_dir)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not left, f"left behind: {left}"
