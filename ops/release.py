"""Makes a release in the work tree: one version in every file that names it, and a section of the changelog (`make release`).

`python -m ops.release 0.2.0` changes files and nothing else; what is printed at the end commits and tags it.
"""

from __future__ import annotations

import datetime
import re
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHANGELOG = "CHANGELOG.md"
UNRELEASED = "## [Unreleased]\n"
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:-?(?:a|b|rc)\.?(\d+))?")

# Where the version stands: what is in front of it, in each file. Each is there exactly once.
PLACES: Mapping[str, tuple[str, ...]] = {
    "pyproject.toml": ('\nversion = "',),
    "router/version.py": ('\nVERSION = "',),
    "edge/console/client/package.json": ('\n  "version": "',),
    "k8s/chart/Chart.yaml": ("\nversion: ", "\nappVersion: "),
    "k8s/overlays/prod/kustomization.yaml": ("\n  - name: callboard\n    newTag: ",),
}


class BadRelease(ValueError):
    """this release cannot be made"""


def versions(root: Path = ROOT) -> dict[str, str]:
    """The version at each place, as `file: text in front of it`. Raises BadRelease where a place is not there once."""
    return {
        f"{file}: {before.strip()}": _at(_text(root, file), file, before)[0]
        for file, places in PLACES.items()
        for before in places
    }


def release(version: str, day: datetime.date, root: Path = ROOT) -> list[str]:
    """Writes the version everywhere and the changelog's section; returns the files. Raises BadRelease and writes nothing."""
    if _VERSION.fullmatch(version) is None:
        raise BadRelease(f"{version!r} is no version: it has the form 1.2.3, or 1.2.3rc1 before it")
    now = set(versions(root).values())
    if len(now) != 1:
        raise BadRelease(f"the files name several versions: {', '.join(sorted(now))}")
    (current,) = now
    written = {CHANGELOG: _changelog(_text(root, CHANGELOG), version, current, day)}
    for file, places in PLACES.items():
        text = _text(root, file)
        for before in places:
            _, start, end = _at(text, file, before)
            text = text[:start] + version + text[end:]
        written[file] = text
    for file, text in written.items():
        (root / file).write_text(text, encoding="utf-8")
    return sorted(written)


def _changelog(text: str, version: str, current: str, day: datetime.date) -> str:
    sections = re.findall(r"^## \[([^\]]+)\]", text, re.MULTILINE)
    if text.count(UNRELEASED) != 1:
        raise BadRelease(f"{CHANGELOG} needs one section {UNRELEASED.strip()}")
    if version in sections:
        raise BadRelease(f"{CHANGELOG} has a section of {version} already")
    # The first release is the version that the files have named until then.
    if current in sections and _order(version) <= _order(current):
        raise BadRelease(f"{version} is not newer than {current}")
    body = text.partition(UNRELEASED)[2].partition("\n## ")[0]
    if "\n- " not in body:
        raise BadRelease(f"{CHANGELOG} has nothing under Unreleased")
    return text.replace(UNRELEASED, f"{UNRELEASED}\n## [{version}] - {day.isoformat()}\n", 1)


def _order(version: str) -> tuple[int, ...]:
    found = _VERSION.fullmatch(version)
    assert found is not None
    # A version comes behind its own candidates.
    return (int(found[1]), int(found[2]), int(found[3]), int(found[4] or 10**9))


def _at(text: str, file: str, before: str) -> tuple[str, int, int]:
    """The version behind a text, where it begins and where it ends."""
    if text.count(before) != 1:
        raise BadRelease(f"{file} has {before.strip()!r} {text.count(before)} times instead of once")
    start = text.index(before) + len(before)
    found = re.compile(r"[^\s\"]+").match(text, start)
    if found is None:
        raise BadRelease(f"{file} names no version behind {before.strip()!r}")
    return found[0], start, found.end()


def _text(root: Path, file: str) -> str:
    return (root / file).read_text(encoding="utf-8")


def main() -> int:
    """Makes the release that the command line names."""
    if len(sys.argv) != 2:
        print("which version? make release VERSION=1.2.3", file=sys.stderr)
        return 2
    version = sys.argv[1]
    try:
        files = release(version, datetime.date.today())
    except BadRelease as fault:
        print(f"nothing is changed: {fault}", file=sys.stderr)
        return 1
    print(f"{version} is written. Run `make check test-all`, then:\n")
    print(f"  git commit -m 'Release {version}' {' '.join(files)}")
    print(f"  git tag -a v{version} -m 'Callboard {version}'")
    return 0


if __name__ == "__main__":
    sys.exit(main())
