"""Runs of renders: begun when a film stands, ended once, whatever is observed in between."""

from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.octane.render_run import (
    STOP_SECONDS,
    FilmReport,
    RenderAdvanced,
    RenderBegun,
    RenderChange,
    RenderEnded,
    RenderOutcome,
    RenderPaused,
    RenderRuns,
    RenderSettings,
    is_same,
)

SETTINGS = RenderSettings(settle=3.0, grace=60.0)
FILM = FilmReport("rendering", 10, 100, wipes=4, render_time=1.0, width=64, height=36, project="/lamp.orbx", target=7)
EPOCH = 1_800_000_000.0


class Watched:
    """One Octane's runs, on a clock that a test moves."""

    def __init__(self, runs: RenderRuns | None = None, now: float = 1000.0) -> None:
        self.runs = runs or RenderRuns("main", SETTINGS)
        self.now = now
        self.changes: list[RenderChange] = []

    def saw(self, after: float = 1.0, film: FilmReport = FILM, **fields: object) -> FilmReport:
        self.now += after
        report = replace(film, **fields)  # type: ignore[arg-type]
        self.changes += self.runs.saw(report, self.now, EPOCH + self.now)
        return report

    def failed(self, reason: str = "GPU 0: kernel failed") -> None:
        self.changes += self.runs.failed(reason, self.now, EPOCH + self.now)

    def passed(self, seconds: float) -> None:
        self.now += seconds
        self.changes += self.runs.passed(self.now)

    def begins(self) -> list[RenderBegun]:
        return [change for change in self.changes if isinstance(change, RenderBegun)]

    def ends(self) -> list[tuple[RenderOutcome, str]]:
        return [(change.outcome, change.reason) for change in self.changes if isinstance(change, RenderEnded)]


def rendering(**fields: object) -> Watched:
    """One whose run has begun."""
    octane = Watched()
    for _ in range(5):
        octane.saw(**fields)
    assert len(octane.begins()) == 1
    return octane


def test_a_film_that_has_stood_begins_a_run_and_its_end_finishes_it():
    octane = Watched()
    octane.saw()
    octane.saw(2.9, samples=20)
    assert not octane.begins()
    octane.saw(0.2, samples=21)
    octane.saw(10, samples=60)
    octane.saw(10, samples=100, state="finished")
    octane.saw(10, samples=100, state="finished")

    assert [type(change) for change in octane.changes] == [
        RenderBegun, RenderAdvanced, RenderAdvanced, RenderAdvanced, RenderEnded,
    ]  # fmt: skip
    assert octane.ends() == [(RenderOutcome.FINISHED, "")]
    assert octane.begins()[0].record.run == "octane-main-20270115-081644-100"


def test_dragging_the_camera_makes_no_runs():
    octane = rendering()
    for wipes in range(5, 305):
        octane.saw(0.1, wipes=wipes, samples=1, render_time=0.05)
    assert len(octane.begins()) == 1 and octane.ends() == [(RenderOutcome.STOPPED, "the film was restarted")]

    for _ in range(4):
        octane.saw(1.0, wipes=304, samples=5)

    assert len(octane.begins()) == 2 and len(octane.ends()) == 1


def test_a_render_that_is_done_before_it_has_settled_is_a_run_all_the_same():
    octane = Watched()
    octane.saw(state="waiting", samples=0)
    octane.saw(0.5, state="finished", samples=100)
    octane.saw(3.0, state="finished", samples=100)

    assert len(octane.begins()) == 1 and octane.ends() == [(RenderOutcome.FINISHED, "")]


def test_what_is_finished_at_first_sight_is_no_run():
    octane = Watched()
    for _ in range(10):
        octane.saw(state="finished", samples=100)

    assert octane.changes == []


def test_a_finished_film_that_gets_more_samples_is_another_run():
    octane = rendering()
    octane.saw(state="finished", samples=100)
    for samples in range(101, 107):
        octane.saw(samples=samples, max_samples=200)

    assert len(octane.begins()) == 2
    assert octane.begins()[0].record.run != octane.begins()[1].record.run


def test_a_pause_is_a_status_and_no_end():
    octane = rendering()
    octane.saw(state="paused")
    octane.saw(3600, state="paused")
    octane.saw(samples=11)

    turns = [change.record.status for change in octane.changes if isinstance(change, RenderPaused)]
    assert turns == ["paused", "running"] and octane.ends() == []


def test_a_failure_says_why_also_where_the_stop_is_seen_first():
    octane = rendering()
    octane.saw(state="stopped", samples=0)
    octane.passed(1.0)
    octane.failed("GPU 0: out of memory")
    octane.passed(10)

    assert octane.ends() == [(RenderOutcome.FAILED, "GPU 0: out of memory")]


def test_a_film_that_is_taken_off_is_stopped():
    octane = rendering()
    octane.saw(state="stopped", samples=0)
    octane.passed(STOP_SECONDS)

    assert octane.ends() == [(RenderOutcome.STOPPED, "the render was stopped")]


def test_who_asked_for_the_stop_is_said():
    octane = rendering()
    octane.runs.stop_asked("asked to stop: the client called")
    octane.saw(state="stopped", samples=0)
    octane.passed(STOP_SECONDS)

    assert octane.ends() == [(RenderOutcome.STOPPED, "asked to stop: the client called")]


def test_a_film_that_fails_before_it_has_settled_is_told_of_and_a_storm_of_failures_is_one():
    octane = Watched()
    for wipes in range(1, 50):
        octane.saw(0.05, wipes=wipes, samples=0)
        octane.failed()

    assert len(octane.begins()) == 1 and len(octane.ends()) == 1


def test_an_octane_that_comes_back_with_the_same_film_goes_on_with_the_run():
    octane = rendering()
    octane.runs.lost("connection refused", octane.now)
    octane.passed(50)
    octane.saw(1, samples=60, render_time=52.0)

    assert octane.ends() == [] and len(octane.begins()) == 1
    octane.saw(1, samples=100, state="finished", render_time=53.0)
    assert octane.ends() == [(RenderOutcome.FINISHED, "")]


def test_an_octane_that_stays_away_fails_the_run_with_the_reason():
    octane = rendering()
    octane.runs.lost("connection refused", octane.now)
    octane.passed(59)
    assert octane.ends() == []
    octane.passed(2)

    assert octane.ends() == [(RenderOutcome.FAILED, "octane was away for 60 s: connection refused")]


def test_an_octane_that_was_restarted_has_lost_the_render():
    octane = rendering(samples=50, render_time=500.0)
    octane.runs.lost("connection refused", octane.now)
    octane.saw(20, samples=8, render_time=10.0)

    assert octane.ends() == [(RenderOutcome.FAILED, "octane lost the render: connection refused")]


def test_a_restarted_octane_that_has_rendered_for_longer_than_before_is_not_taken_for_the_old_one():
    octane = rendering(samples=5, render_time=4.0)
    octane.runs.lost("connection refused", octane.now)
    octane.saw(50, samples=30, render_time=30.0)

    assert octane.ends()[0][0] is RenderOutcome.FAILED


def restarted(octane: Watched, after: float) -> Watched:
    """The same Octane, watched by the next incarnation of the actor."""
    record = octane.runs.record
    assert record is not None
    runs = RenderRuns("main", SETTINGS)
    runs.restore(record, octane.now + after)
    return Watched(runs, octane.now + after)


def test_the_next_incarnation_of_the_actor_goes_on_with_the_run():
    octane = rendering()
    after = restarted(octane, 30)
    after.saw(1, samples=80, render_time=32.0)
    after.saw(1, samples=100, state="finished", render_time=33.0)

    assert after.begins() == [] and after.ends() == [(RenderOutcome.FINISHED, "")]


def test_a_render_that_was_finished_while_nobody_watched_is_finished():
    after = restarted(rendering(), 30)
    after.saw(1, samples=100, state="finished", render_time=20.0)

    assert after.begins() == [] and after.ends() == [(RenderOutcome.FINISHED, "")]


def test_a_finished_run_is_not_begun_again_by_the_next_incarnation():
    octane = rendering()
    octane.saw(state="finished", samples=100)
    after = restarted(octane, 5)
    for _ in range(10):
        after.saw(state="finished", samples=100)

    assert after.changes == []


def test_another_render_that_began_while_nobody_watched_ends_the_old_run():
    after = restarted(rendering(), 30)
    for _ in range(5):
        after.saw(1, wipes=9)

    assert after.ends() == [(RenderOutcome.STOPPED, "another render took its place")] and len(after.begins()) == 1


def test_progress_is_reported_at_each_percent_and_now_and_then():
    octane = rendering(max_samples=100_000, samples=1)
    before = len(octane.changes)
    for samples in range(2, 102):
        octane.saw(0.25, max_samples=100_000, samples=samples)

    assert len(octane.changes) - before == 2


def test_progress_is_not_taken_back_where_more_samples_are_asked_for():
    octane = rendering(samples=50)
    octane.saw(11, samples=60, max_samples=1000)

    assert [change.progress for change in octane.changes if isinstance(change, RenderAdvanced)] == [0.5, 0.5]


def test_a_film_of_another_size_project_or_target_is_another():
    for fields in ({"width": 65}, {"project": "/other.orbx"}, {"target": 8}, {"wipes": 5}, {"samples": 9}):
        assert not is_same(FILM, replace(FILM, **fields), None)  # type: ignore[arg-type]
    assert is_same(FILM, FILM, None)


reports = st.builds(
    FilmReport,
    state=st.sampled_from(["rendering", "paused", "finished", "stopped", "waiting", "7"]),
    samples=st.integers(0, 120),
    max_samples=st.sampled_from([0, 100, 120]),
    wipes=st.integers(0, 2),
    render_time=st.floats(0, 100),
    width=st.sampled_from([64, 65]),
    height=st.just(36),
    project=st.sampled_from(["", "/a"]),
    target=st.integers(0, 1),
)
steps = st.lists(
    st.tuples(st.floats(0, 40), reports | st.sampled_from(["lost", "failed", "passed", "actor", "ended", "revive"])),
    max_size=60,
)


@settings(max_examples=300)
@given(steps)
def test_any_sequence_of_observations_gives_runs_that_begin_once_and_end_once(steps: list[tuple[float, object]]):
    octane = Watched()
    for after, step in steps:
        octane.now += after
        match step:
            case FilmReport():
                octane.changes += octane.runs.saw(step, octane.now, EPOCH + octane.now)
            case "lost":
                octane.runs.lost("gone", octane.now)
            case "failed":
                octane.failed()
            case "actor" if octane.runs.record is not None:
                runs = RenderRuns("main", SETTINGS)
                runs.restore(octane.runs.record, octane.now)
                octane.runs = runs
            case _:
                octane.passed(0)

    open_run: str | None = None
    begun: list[str] = []
    progress = 0.0
    for change in octane.changes:
        run = change.record.run
        match change:
            case RenderBegun():
                assert open_run is None and run not in begun
                open_run, progress = run, 0.0
                begun.append(run)
            case RenderEnded():
                assert run == open_run
                open_run = None
            case RenderAdvanced():
                assert run == open_run and (change.progress or progress) >= progress
                progress = change.progress or progress
            case RenderPaused():
                assert run == open_run
    record = octane.runs.open
    assert (record.run if record is not None else None) == open_run


@settings(max_examples=100)
@given(st.lists(st.tuples(st.floats(0, 1), reports), max_size=200))
def test_runs_begin_no_faster_than_films_settle(steps: list[tuple[float, FilmReport]]):
    octane, at = Watched(), []
    for after, report in steps:
        octane.now += after
        changes = octane.runs.saw(report, octane.now, EPOCH + octane.now)
        at += [octane.now for change in changes if isinstance(change, RenderBegun)]

    assert all(later - earlier >= SETTINGS.settle for earlier, later in itertools.pairwise(at))
