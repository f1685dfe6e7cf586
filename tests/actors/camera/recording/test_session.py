"""What a command to record may say, and what is told of it."""

from __future__ import annotations

import pytest

from actors.camera.recording.session import RecordingSession, checked_label, checked_seconds, event_data
from router.recording_entry import Recording

NOW = 1_800_000_000_000.0


@pytest.mark.parametrize("wrong", [0, -1, 0.5, 1e9, float("nan")])
def test_a_duration_is_a_second_to_a_month(wrong: float) -> None:
    with pytest.raises(ValueError, match="seconds must be from 1 to 2678400"):
        checked_seconds(wrong)
    assert checked_seconds(None) is None and checked_seconds(60) == 60.0


@pytest.mark.parametrize("wrong", ["x" * 201, "a\nb", "\x00"])
def test_a_label_is_short_and_printable(wrong: str) -> None:
    with pytest.raises(ValueError, match="label must be"):
        checked_label(wrong)
    assert checked_label(" night ") == "night" and checked_label("") is None and checked_label(None) is None


def test_the_first_file_has_the_id_of_its_session_and_the_others_have_it_as_session() -> None:
    session = RecordingSession("main", NOW, NOW + 60_000, "night", "ann")
    first, later = session.entry(NOW), RecordingSession.resumed(session.entry(NOW)).entry(NOW + 1000)

    assert first.id == first.session == later.session and later.id != first.id
    assert (later.until, later.label, later.started_by) == (NOW + 60_000, "night", "ann")


def test_an_event_says_only_what_is_known() -> None:
    entry = Recording(id="x", camera="main", session="x", began=NOW)
    assert event_data("started", entry) == {
        "what": "started", "recording": "x", "session": "x", "kind": "video", "began": "2027-01-15T08:00:00.000000Z",
    }  # fmt: skip
    entry.ended, entry.frames, entry.bytes = NOW + 1500, 45, 1000
    data = event_data("stopped", entry)
    assert (data["duration"], data["frames"], data["ended"]) == (1.5, 45, "2027-01-15T08:00:01.500000Z")
