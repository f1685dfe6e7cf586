"""A view shows what its subjects, its types and its filter let through, and what is addressed to its own session."""

from __future__ import annotations

import pytest

from edge.view import View
from router.codec import encode
from router.errors import BadFilter, BadPattern
from router.event import Event
from router.record import Record


def record(subject: str, kind: str | None = None, **data: object) -> Record:
    return Record(1, subject, encode(Event.new(subject, data, type=kind)))


def test_subjects_types_and_filter_must_all_let_an_event_through() -> None:
    view = View.of("s1", ["job.*.output"], ["output"], "data.n > 1")

    assert view.dynamic and view.accepts(record("job.a.output", n=2))
    assert not view.accepts(record("job.a.output", n=1))
    assert not view.accepts(record("job.a.output", "other", n=2))
    assert not view.accepts(record("job.a.failed", "output", n=2))
    assert not view.accepts(Record(1, "job.a.output", b"\xc1"))


@pytest.mark.parametrize(
    ("subjects", "subject", "admitted"),
    [
        (None, "session.s1.said", True),
        (None, "session.s2.said", False),
        (None, "job.a.output", True),
        (["job.>"], "session.s1.said", False),
        (["session.s2.>"], "session.s2.said", True),
    ],
)
def test_what_is_addressed_to_a_session_is_for_it_alone_unless_subjects_were_named(
    subjects: list[str] | None, subject: str, admitted: bool
) -> None:
    assert View.of("s1", subjects, None, None).admits(subject, "said") is admitted


def test_partial_results_are_left_out_where_only_final_ones_are_wanted() -> None:
    final = View.of("s1", ["job.>"], None, None, intermediate=False)
    shown = [
        (kind, data)
        for kind, data in (
            ("output", {"line": "x"}),
            ("token", {"content": "x"}),
            ("job_progress", {"progress": 0.5}),
            ("job_progress", {"status": "completed"}),
        )
        if final.accepts(record(f"job.a.{kind}", **data))
    ]

    assert shown == [("output", {"line": "x"}), ("job_progress", {"status": "completed"})]


def test_equal_questions_are_equal_views_and_an_owner_counts_only_with_a_filter() -> None:
    assert View.of("s1", ["job.>"], None, None, owner="a") == View.of("s2", ["job.>", "job.>"], None, "", owner="b")
    assert View.of("s1", ["job.>"], None, "data.n > 1", owner="a") != View.of(
        "s1", ["job.>"], None, "data.n > 1", owner="b"
    )


def test_a_view_is_narrowed_to_what_is_granted() -> None:
    view = View.of("s1", ["job.>"], None, None)

    assert view.within((">",)) is view
    assert view.within(("*.a.>",)).patterns == ("job.a.>",)
    assert not view.within(("agent.>",)).admits("job.a.output", "output")


def test_bad_subjects_and_filters_are_refused() -> None:
    with pytest.raises(BadPattern):
        View.of("s1", ["job..x"], None, None)
    with pytest.raises(BadFilter):
        View.of("s1", None, None, "data.n >")
