"""Finds the parts of other programs that some tests need; says at the end of a run what was skipped for want of which.

A machine without a part skips its tests. With CI=true they fail instead, since CI installs everything (`.ci/install`).
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import NoReturn

import pytest

# Debian keeps servers where a user's PATH does not look.
SBIN = os.environ.get("CALLBOARD_TEST_SBIN", "/usr/sbin")
# What a test's skip reason begins with; the part's name follows up to a colon.
_SIGN = "needs "


@dataclass(frozen=True)
class Part:
    """A program that tests need: its name, where it is found, and Debian's packages that bring it."""

    name: str
    programs: tuple[str, ...]
    packages: tuple[str, ...]


CHROMIUM = Part("chromium", ("chromium", "google-chrome"), ("chromium",))
NGINX = Part("nginx", ("nginx",), ("nginx-light",))
PROMETHEUS = Part("Prometheus", ("prometheus", "promtool"), ("prometheus",))
ALERTMANAGER = Part("Alertmanager", ("prometheus-alertmanager", "alertmanager"), ("prometheus-alertmanager",))
NODE = Part("Node.js with npm", ("node", "npm"), ("nodejs", "npm"))
FFMPEG = Part("ffmpeg", ("ffmpeg", "ffprobe"), ("ffmpeg",))
GO = Part("Go", ("go",), ("golang-go",))
# `.ci/engine start` installs one and starts it; a package alone does not run.
DOCKER = Part("a Docker engine", (), ())
# `.ci/helm` installs both from a package of npm: Debian has no Helm, and its kubectl is too old for k8s/.
KUBECTL = Part("kubectl", ("kubectl",), ())
HELM = Part("Helm", ("helm",), ())
# Also compiles what boots in the virtual machine, and stands in for libraries of hardware that is not here.
GCC = Part("gcc", ("gcc",), ("gcc", "libc6-dev"))
QEMU = Part("QEMU", ("qemu-system-x86_64",), ("qemu-system-x86",))
# `.ci/kernel` unpacks one; a package alone would be installed, and is not needed to be.
KERNEL = Part("a kernel for the virtual machine", (), ())
# `.ci/npm` installs them.
GENERATORS = Part("npm packages that generate clients", (), ())
# npm gets them when a test asks for them.
PACKAGES = Part("packages of npm's registry", (), ())
PARTS = (
    CHROMIUM, NGINX, PROMETHEUS, ALERTMANAGER, NODE, FFMPEG, GO, DOCKER, KUBECTL, HELM, GCC, QEMU, KERNEL, GENERATORS,
    PACKAGES,
)  # fmt: skip


def program(part: Part, name: str = "") -> str:
    """Returns the path of a part's program, the first of them unless it is named; skips or fails where there is none."""
    where = f"{os.environ.get('PATH', '')}:{SBIN}"
    names = (name,) if name else part.programs
    found = next(filter(None, (shutil.which(each, path=where) for each in names)), None)
    if found is None:
        missing(part, f"{names[0]} is not on this machine")
    return found


def missing(part: Part, reason: str) -> NoReturn:
    """Skips the test that needs this part, or fails it where CI says that the part is there."""
    said = f"{_SIGN}{part.name}: {reason}"
    if part.packages:
        said += f" (apt-get install {' '.join(part.packages)})"
    if os.environ.get("CI") == "true":
        pytest.fail(said, pytrace=False)
    pytest.skip(said)


def closing_line(reasons: list[str]) -> str:
    """Says in one line how many tests were skipped for want of which part, and what would run them; "" where none was."""
    counts = dict.fromkeys(PARTS, 0)
    for reason in reasons:
        for part in PARTS:
            counts[part] += reason.removeprefix("Skipped: ").startswith(f"{_SIGN}{part.name}:")
    wanting = {part: count for part, count in counts.items() if count}
    if not wanting:
        return ""
    each = ", ".join(f"{count} need {part.name}" for part, count in wanting.items())
    packages = " ".join(package for part in wanting for package in part.packages)
    by_hand = f"`apt-get install {packages}` or " if packages else ""
    return f"skipped {sum(wanting.values())} tests: {each}; {by_hand}`make test-all` would run them"
