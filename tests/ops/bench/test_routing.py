"""The views that routing is measured with."""

from __future__ import annotations

from ops.bench.routing import views


def test_views_are_mixed_as_sessions_have_them() -> None:
    found = views(10)

    assert len(found) == 10
    assert sum(view.filter is not None for view in found) == 1
    assert sum(len(view.patterns) == 1 for view in found) >= 7
