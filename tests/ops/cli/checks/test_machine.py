"""What `callboard doctor` finds on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ops import interpreter
from ops.cli.checks import machine
from ops.cli.checks.findings import FAIL, INFO, OK, WARN
from ops.environment import RawValue
from ops.settings import Settings


def test_a_file_in_the_place_of_the_data_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")

    (found,) = machine._folder(tmp_path / "data" / "inner")

    assert found.verdict == FAIL and "--data-dir" in found.mend


def test_a_data_folder_that_is_not_made_yet_is_well_and_stays_unmade(tmp_path: Path) -> None:
    folder, space = machine._folder(tmp_path / "data")

    assert folder.verdict == OK and "not made yet" in folder.found and "GiB free" in space.found
    assert not (tmp_path / "data").exists()


def test_few_descriptors_are_told_with_how_to_have_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "attainable", lambda: 1024)

    assert machine._descriptors().verdict == WARN and "ulimit" in machine._descriptors().mend


@pytest.mark.parametrize(("mode", "verdict"), [(0o600, OK), (0o644, WARN)])
def test_a_secret_is_for_our_user_only(tmp_path: Path, mode: int, verdict: str) -> None:
    seed = tmp_path / "seed"
    seed.write_text("SU")
    seed.chmod(mode)

    (found,) = machine._secrets(_with_seed(seed))

    assert (found.check, found.verdict) == ("NATS nkey seed", verdict)


def test_a_python_without_profile_guided_optimisation_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "is_optimised", lambda: False)

    (found,) = machine._build()

    assert found.verdict == INFO and "profile-guided" in found.found and "--enable-optimizations" in found.mend


@pytest.mark.parametrize("optimised", [True, None])
def test_a_python_that_is_or_may_be_optimised_is_not_noted(
    monkeypatch: pytest.MonkeyPatch, optimised: bool | None
) -> None:
    monkeypatch.setattr(interpreter, "is_optimised", lambda: optimised)

    assert machine._build() == []


def test_a_secret_that_is_missing_is_a_failure(tmp_path: Path) -> None:
    (found,) = machine._secrets(_with_seed(tmp_path / "none"))

    assert found.verdict == FAIL and os.strerror(2) in found.found


def test_a_program_that_only_tests_need_is_no_failure() -> None:
    assert machine._program("sh", ("no-such-program", "sh"), "tests").found.startswith("there")
    missing = machine._program("x", ("no-such-program",), "tests")
    assert missing.verdict == INFO and missing.found.startswith("not there")


def _with_seed(path: Path) -> Settings:
    return Settings.load(flags={"CALLBOARD_NATS_NKEY_SEED": RawValue(str(path), "flag", "--seed")}, adopt=())
