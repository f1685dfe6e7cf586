"""Tests of router/nats/permissions.py: how the server's violations are read. With a server: tests/edge/test_forbidden_publishes.py."""

from __future__ import annotations

import asyncio

from router.errors import Forbidden
from router.nats.permissions import MAX_SUBJECTS, RefusedPublishes

VIOLATION = 'nats: permissions violation for publish to "{}"'


async def test_a_refused_request_fails_with_its_subject_as_it_was_sent() -> None:
    refused = RefusedPublishes()
    asked: dict[asyncio.Future[object], str] = {
        asyncio.get_running_loop().create_future(): name for name in ("ev.A", "ev.B")
    }

    assert refused.note(VIOLATION.format("ev.a"), asked) is True

    one, other = asked
    assert isinstance(one.exception(), Forbidden) and not other.done()
    assert list(refused.subjects) == ["ev.A"]
    refused.allowed(["ev.A"])
    assert not refused.subjects


def test_other_errors_are_not_about_a_publish() -> None:
    assert RefusedPublishes().note('permissions violation for subscription to "ev.a"', {}) is None


def test_many_refusals_are_logged_once_and_a_bounded_number_is_kept() -> None:
    refused = RefusedPublishes()
    heard: list[str] = []
    refused.listener = heard.append

    logged = [refused.note(VIOLATION.format(f"ev.{number}"), {}) for number in range(MAX_SUBJECTS + 5)]

    assert logged == [True] + [False] * (MAX_SUBJECTS + 4)
    assert len(heard) == MAX_SUBJECTS + 5 and len(refused.subjects) == MAX_SUBJECTS
    assert list(refused.subjects)[-1] == f"ev.{MAX_SUBJECTS + 4}"


def test_a_sender_without_requests_names_the_subject_as_it_was_sent() -> None:
    refused = RefusedPublishes()
    refused.senders.append(lambda lower: "ev.Sent" if lower == "ev.sent" else None)

    refused.note(VIOLATION.format("ev.sent"), {})

    assert list(refused.subjects) == ["ev.Sent"]
