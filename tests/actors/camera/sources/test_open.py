from __future__ import annotations

from actors.camera.sources.open import about, source_of


def test_a_setting_names_its_source() -> None:
    assert source_of("simulated", 640, 480).simulated
    assert not source_of("film.mp4", 640, 480).simulated
    assert about("/home/somebody/film.mp4") == {"source": "file", "simulated": False, "file": "film.mp4"}
    assert about("simulated") == {"source": "simulated", "simulated": True}
