"""Installs npm packages: those that the guides' samples are written for, and once for all tests the libraries of chat UIs."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.http.system import CLIENT
from tests import parts

# What people build chats with, and a bundler; the client of this project as npm packs it.
LIBRARIES = (
    "react@^19.2.1",
    "react-dom@^19.2.1",
    "ai@7",
    "@ai-sdk/react@4",
    "@ag-ui/client@1",
    "@tanstack/ai-react@0.27",
    "@langchain/langgraph-sdk@1",
    "@langchain/core@1",
    "eventsource@3.0.7",
    "@microsoft/fetch-event-source@2.0.1",
    "esbuild@0.25.5",
    str(CLIENT),
)

# npm may have to fetch some hundred packages beside other tests.
NPM_SECONDS = 180.0


def node_with(folder: Path, *packages: str) -> str:
    """Installs packages into a folder and returns where node is.

    A machine without node, or that does not reach npm's registry, skips; CI may not. Packages that do not fit together fail the
    test anywhere.
    """
    node, npm = (parts.program(parts.NODE, name) for name in ("node", "npm"))
    quietly = ("--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error")
    names = ", ".join(packages)
    try:
        got = subprocess.run(
            [npm, "install", *quietly, *packages, "--prefix", str(folder)],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=NPM_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        parts.missing(parts.PACKAGES, f"npm did not get {names} within {NPM_SECONDS:g} s")
    if got.returncode:
        assert "ERESOLVE" not in got.stderr, got.stderr
        parts.missing(parts.PACKAGES, f"npm cannot get {names}: {got.stderr.strip()[-200:]}")
    return node


# Where .ci/npm installs what generates clients and judges documents.
GENERATORS = Path(os.environ.get("CALLBOARD_TEST_NPM", "/var/tmp/callboard-npm"))


def node_with_generators(folder: Path) -> str:
    """Makes a folder one of ES modules that has the packages of `.ci/npm`, and returns where node is; fetches nothing."""
    node = parts.program(parts.NODE, "node")
    if not (GENERATORS / "installed").exists():
        parts.missing(parts.GENERATORS, f"they are not in {GENERATORS}; .ci/npm installs them")
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "node_modules").symlink_to(GENERATORS / "node_modules")
    return node


class Libraries:
    """A folder in which `LIBRARIES` are installed, for all processes of a run of the tests."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        with _locked(folder / "lock"):
            if not (folder / "installed").exists():
                (folder / "package.json").write_text('{"type": "module"}')
                node_with(folder, *LIBRARIES)
                (folder / "installed").touch()
        self.node = parts.program(parts.NODE, "node")
        self.folder = folder

    def script(self, source: Path) -> Path:
        """A program beside the libraries, for node."""
        return Path(shutil.copy(source, self.folder))

    def bundle(self, page: Path) -> str:
        """The script of a page, as a bundler makes it of a user's program."""
        options = ("--bundle", "--format=esm", "--jsx=automatic", '--define:process.env.NODE_ENV="development"')
        made = subprocess.run(
            # The client is a link into this project, which has no libraries.
            [self.node, "node_modules/esbuild/bin/esbuild", self.script(page).name, *options, "--preserve-symlinks"],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert made.returncode == 0, made.stderr
        return made.stdout


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
