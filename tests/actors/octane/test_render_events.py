"""What events say of a render, and what is read from them again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from actors.octane.render_events import facts_of, film_of, later, name_of, progress_of, record_of
from actors.octane.render_run import FilmReport, RenderRecord
from router.event import Event

REPORT = {
    "state": "rendering",
    "samples": 10,
    "max_samples": 40,
    "wipes": 3,
    "render_time": 2.5,
    "estimated_render_time": 10.0,
    "samples_per_second": 4e6,
    "width": 64,
    "height": 36,
    "project": "C:\\scenes\\lamp.orbx",
    "devices": [{"name": "GPU 0", "used_memory": 3}, {"name": "GPU 1"}],
    "simulated": True,
}
RECORD = RenderRecord("octane-main-1", "running", began=100.0, seen=110.0, report=film_of(REPORT, 7))


def test_a_film_is_what_the_statistics_say() -> None:
    film = film_of(REPORT, 7)

    assert (film.state, film.samples, film.wipes, film.target, film.progress) == ("rendering", 10, 3, 7, 0.25)
    assert film_of({}, 0) == FilmReport("", 0, 0, 0, 0.0, 0, 0)


def test_facts_name_the_devices_and_leave_their_figures_out() -> None:
    facts = facts_of(RECORD, "main")

    assert facts["devices"] == ["GPU 0", "GPU 1"] and facts["octane"] == "main" and facts["simulated"] is True


def test_progress_says_how_long_it_will_take() -> None:
    data = progress_of(RECORD, 0.25)

    assert (data["progress"], data["current"], data["total"], data["eta_seconds"]) == (0.25, 10, 40, 7.5)


def test_progress_of_a_render_without_an_end_has_neither_share_nor_remaining_time() -> None:
    endless = replace(RECORD, report=replace(RECORD.report, max_samples=0))

    data = progress_of(endless, None)

    assert data["current"] == 10 and not {"progress", "total", "eta_seconds"} & data.keys()


def test_a_run_is_named_after_its_project_on_any_system() -> None:
    assert name_of(RECORD) == "Render of lamp.orbx"
    assert name_of(replace(RECORD, report=replace(RECORD.report, project="/s/desk.ocs"))) == "Render of desk.ocs"
    assert name_of(replace(RECORD, report=replace(RECORD.report, project=""))) == "Render"


def test_a_record_is_read_back_from_what_was_published() -> None:
    said = {
        "run": RECORD.run,
        "status": RECORD.status,
        "began": RECORD.began,
        "seen": RECORD.seen,
        **facts_of(RECORD, "main"),
        "render_time": 2.5,
        "wipes": 3,
        "state": "rendering",
    }

    assert record_of(said) == replace(RECORD, report=replace(RECORD.report, more={}))


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"run": "r", "status": "running"},
        {"run": 1, "status": "running", "began": 1, "seen": 1},
        {"run": "r", "status": "running", "began": "x", "seen": 1},
        {"run": "r", "status": "running", "began": 1, "seen": 1, "target": "x"},
        {"run": "r", "status": "running", "began": 1, "seen": 1, "samples": []},
    ],
)
def test_what_is_no_record_is_none(said: dict[str, Any]) -> None:
    assert record_of(said) is None


def test_the_last_progress_is_newer_than_what_was_remembered() -> None:
    def progress(**data: Any) -> Event:
        return replace_time(Event.new("job.octane-main-1.progress", data, source="octane"), 120)

    seen = later(RECORD, progress(current=30, render_time=12.0))

    assert (seen.report.samples, seen.report.render_time, seen.seen) == (30, 12.0, 120.0)
    assert later(RECORD, progress(current="many", render_time=12.0)) is RECORD
    assert later(replace(RECORD, seen=130.0), progress(current=30, render_time=12.0)).report.samples == 10


def replace_time(event: Event, seconds: float) -> Event:
    import msgspec

    return msgspec.structs.replace(event, time=int(seconds * 1e9))
