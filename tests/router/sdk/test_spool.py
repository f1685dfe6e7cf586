"""Tests of router/sdk/spool.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.sdk import spool
from router.sdk.queued import Kind, Life, Queued
from router.sdk.spool import SpoolFailed, SpoolFile, default_folder, header_of, left_behind, new_header


def life(run: str = "run 42", incarnation: str = "a1") -> Life:
    return Life("agent", run, run, incarnation, "sdk")


def event(number: int) -> Queued:
    return Queued(Kind.EVENT, number, "agent.x.noted", f"d{number}", b"payload %d" % number)


def make(folder: Path, **of: str) -> SpoolFile:
    return SpoolFile.create(folder, new_header(life(**of), "nats://there"))


def test_what_is_appended_is_read_by_the_next_who_opens_it(tmp_path: Path) -> None:
    file = make(tmp_path / "new")
    file.append([event(1), event(2)])
    file.append([event(3)])
    assert SpoolFile.open(file.path) is None  # in use
    file.close()

    opened = SpoolFile.open(file.path)

    assert opened is not None and opened.header == file.header and opened.header.run == "run 42"
    assert [one.item for one in opened.read(opened.start)] == [event(1), event(2), event(3)]
    assert file.path.stat().st_mode & 0o777 == 0o600 and file.path.parent.stat().st_mode & 0o777 == 0o700
    opened.remove()
    assert left_behind(tmp_path / "new") == []


@given(cut=st.integers(0, 400), flip=st.none() | st.integers(0, 400))
def test_a_torn_file_gives_its_whole_first_events(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: int | None
) -> None:
    file = make(tmp_path_factory.mktemp("spool"))
    ends = file.append([event(n) for n in range(5)])
    file.close()
    data = bytearray(file.path.read_bytes())
    if flip is not None and flip < len(data):
        data[flip] ^= 0xFF
    file.path.write_bytes(data[:cut] if cut < len(data) else data)
    intact = min(cut, len(data), flip if flip is not None and flip < len(data) else len(data))

    opened = SpoolFile.open(file.path)

    if opened is None:
        assert intact < ends[0]
        return
    found = [one.item for one in opened.read(opened.start)]
    assert found == [event(n) for n in range(len(found))] and len(found) == sum(end <= intact for end in ends)
    opened.append([event(9)])
    assert [one.item.number for one in opened.read(opened.start)][-1] == 9
    opened.close()


def test_files_of_one_run_are_found_the_oldest_first(tmp_path: Path) -> None:
    files = [make(tmp_path, incarnation=incarnation) for incarnation in ("b", "a", "c")]
    other = make(tmp_path, run="run 43")
    for file in [*files, other]:
        file.close()

    assert left_behind(tmp_path, "agent", "run 42") == [file.path for file in files]
    assert left_behind(tmp_path, "job", "run 42") == []
    assert len(left_behind(tmp_path)) == 4
    assert header_of(other.path) == other.header


def test_what_is_no_spool_is_left_alone(tmp_path: Path) -> None:
    stranger = tmp_path / "x.spool"
    stranger.write_bytes(b"something else")

    assert SpoolFile.open(stranger) is None and header_of(stranger) is None
    assert stranger.read_bytes() == b"something else"


def test_a_folder_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "MAX_FOLDER_BYTES", 10)
    make(tmp_path).close()

    with pytest.raises(SpoolFailed, match="is full"):
        make(tmp_path, run="other")


def test_the_folder_is_a_setting_or_where_programs_keep_their_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CALLBOARD_SPOOL_DIR", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert default_folder() == Path("/state/callboard/spool")
    monkeypatch.setenv("CALLBOARD_SPOOL_DIR", "/spool")
    assert default_folder() == Path("/spool")
