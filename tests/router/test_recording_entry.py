"""Ids and subjects of recordings."""

from __future__ import annotations

import pytest

from router.errors import BadInput
from router.recording_entry import Recording, check_recording_id, new_recording_id


def test_ids_sort_by_the_time_at_which_the_recordings_began_and_differ_within_a_second() -> None:
    first, second, later = (
        new_recording_id(1_800_000_000),
        new_recording_id(1_800_000_000),
        new_recording_id(1_800_000_001),
    )

    assert first.startswith("20270115T080000-") and first != second
    assert max(first, second) < later
    assert check_recording_id(first) == first


@pytest.mark.parametrize(
    "text", ["", "*", "20270115T080000-*", "20270115T080000-0a1b2c3", "20270115T080000-0a1b2c3d.>", "x" * 5000]
)
def test_nothing_else_is_an_id(text: str) -> None:
    with pytest.raises(BadInput, match="looks like"):
        check_recording_id(text)


def test_a_camera_s_name_is_one_token_of_its_subject() -> None:
    id = new_recording_id(1_800_000_000)

    assert Recording(id=id, camera="lab.one", session=id, began=0).subject == f"rec.lab=2Eone.{id}"
