"""Counts how often views are asked one by one what they admit."""

from __future__ import annotations

import pytest

from edge.view import View


class Asked:
    """Counts how often a view is asked what it admits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        admits = View.admits

        def counted(asked: View, subject: str, kind: str) -> bool:
            self.times += 1
            return admits(asked, subject, kind)

        monkeypatch.setattr(View, "admits", counted)
