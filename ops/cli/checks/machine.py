"""Checks this machine: Python, the data folder, descriptors, files with secrets, installed programs."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path

from ops import interpreter
from ops.cli.checks.findings import FAIL, INFO, OK, WARN, CheckResult
from ops.cli.checks.kernel import KernelLimits, examine_connections
from ops.cli.checks.packages import examine_packages
from ops.cli.show import versions
from ops.environment import DATA_DIR, search_path
from ops.process.descriptors import attainable
from ops.process.disk import LITTLE_SPACE, NO_SPACE
from ops.register import is_locked
from ops.settings import Settings

OLDEST_PYTHON = (3, 11)

# Half of what Debian gives a login; each reader takes one, and NATS, webhooks and logs some more.
FEW_FILES = 4096


def examine_machine(settings: Settings) -> list[CheckResult]:
    """Looks at all that needs no connection, the nearest first."""
    return [
        _python(),
        *_build(),
        *examine_packages(),
        *_folder(settings.embedded.data_dir),
        _descriptors(),
        *examine_connections(settings.section("edge").workers, KernelLimits.here()),
        *_secrets(settings),
        _server_binary(),
        _up(settings),
    ]


def examine_programs() -> list[CheckResult]:
    """Looks for programs that only tests need."""
    return [
        _program("chromium", ("chromium", "chromium-browser", "google-chrome"), "tests of the page"),
        _program("docker", ("docker",), "tests in containers"),
    ]


def _python() -> CheckResult:
    version = ".".join(map(str, sys.version_info[:3]))
    if tuple(sys.version_info) < OLDEST_PYTHON:
        return CheckResult(
            "python", FAIL, f"{version} is too old", "install Python 3.11 or newer, then `make clean install`"
        )
    return CheckResult("python", OK, version)


def _build() -> list[CheckResult]:
    """Says where this Python is slower than it could be; nothing where it is not, or that cannot be known."""
    if interpreter.is_optimised() is not False:
        return []
    found = "without profile-guided optimisation; with it a quiet event takes 5 to 11 % less CPU"
    mend = "use Debian's Python or the image's, or build yours by `./configure --enable-optimizations`"
    return [CheckResult("python build", INFO, found, mend)]


def _folder(folder: Path) -> list[CheckResult]:
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    mend = "choose another with --data-dir or CALLBOARD_DATA_DIR"
    if not existing.is_dir():
        return [CheckResult("data folder", FAIL, f"{existing} is not a folder", mend)]
    try:
        with tempfile.TemporaryFile(dir=existing) as probe:
            probe.write(bytes(4096))
            os.fsync(probe.fileno())
    except OSError as fault:
        return [CheckResult("data folder", FAIL, f"{existing}: {fault.strerror}", mend)]
    where = f"{folder}" if existing == folder.absolute() else f"{folder} (not made yet)"
    free = shutil.disk_usage(existing).free
    amount = f"{free / (1 << 30):.1f} GiB free"
    verdict = FAIL if free < NO_SPACE else WARN if free < LITTLE_SPACE else OK
    hint = "" if verdict == OK else f"free some space, lower CALLBOARD_EVENTS_MAX_BYTES, or {mend}"
    running = "in use by a running `callboard up`" if is_locked(folder) else "no `callboard up` runs on it"
    return [
        CheckResult("data folder", OK, f"{where} is writable, {running}"),
        CheckResult("space", verdict, amount, hint),
    ]


def _descriptors() -> CheckResult:
    most = attainable()
    if most < FEW_FILES:
        mend = "raise the hard limit: `ulimit -Hn 65536` as root before the start, or LimitNOFILE= in its unit"
        found = f"{most} file descriptors a process; each reader and each webhook under way takes one"
        return CheckResult("descriptors", WARN, found, mend)
    return CheckResult("descriptors", OK, f"{most:,} file descriptors a process")


def _secrets(settings: Settings) -> list[CheckResult]:
    """Looks whether files that hold secrets can be read by us, and by nobody else."""
    broker = settings.broker
    findings = []
    for name, path in (("creds", broker.creds), ("nkey seed", broker.nkey_seed), ("key", broker.key)):
        if path is None:
            continue
        check = f"NATS {name}"
        try:
            mode = path.stat().st_mode
            with path.open("rb"):
                pass
        except OSError as fault:
            findings.append(
                CheckResult(check, FAIL, f"{path}: {fault.strerror}", "name a file that this user may read")
            )
            continue
        if mode & (stat.S_IRWXO | stat.S_IWGRP):
            findings.append(CheckResult(check, WARN, f"others may read {path}", f"`chmod o=,g-w {path}`"))
        else:
            findings.append(CheckResult(check, OK, f"{path} can be read by us and not by others"))
    return findings


def _up(settings: Settings) -> CheckResult:
    """Says which `callboard up` is looked at; NATS and the edge are its own where no others are named."""
    settings.one_is_meant()
    if settings.running:
        return CheckResult("up", OK, f"runs on {settings.running}")
    return CheckResult(
        "up", INFO, "none of this user runs" if not settings.was_set(DATA_DIR) else "none runs on this folder"
    )


def _server_binary() -> CheckResult:
    version = versions()["nats-server"]
    if version is None:
        return CheckResult(
            "nats-server", WARN, "not installed", "`make install`, or set CALLBOARD_NATS_URL to a server"
        )
    return CheckResult("nats-server", OK, f"{version} is installed")


def _program(name: str, names: tuple[str, ...], used: str) -> CheckResult:
    path = next((found for each in names if (found := shutil.which(each, path=search_path()))), None)
    return CheckResult(name, INFO, f"{'there' if path else 'not there'}; only {used} need it")
