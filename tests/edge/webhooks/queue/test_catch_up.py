"""Tests of edge/webhooks/queue/catch_up.py: a new owner knows when it has admitted what was there before it."""

from __future__ import annotations

from typing import cast

from edge.webhooks.queue.catch_up import CatchUp
from edge.webhooks.queue.post import PendingJob
from router.nats.consumer import Consumer
from tests.edge.webhooks.queue.test_in_hand import Source
from tests.edge.webhooks.queue.test_ordering import new, parked


def arrived(n: int, stream: str = "HOOKS") -> PendingJob:
    pending = new(n)
    pending.consumer = cast(Consumer, Source(stream))
    return pending


def test_with_no_job_at_the_takeover_it_is_done_at_once():
    catch_up = CatchUp()
    assert not catch_up.is_ready("sess_1")

    catch_up.begin(0)

    assert catch_up.is_ready("sess_1")
    assert not catch_up.arrived(1) and catch_up.reached == 1


def test_it_is_done_once_the_last_job_of_the_takeover_or_a_later_one_has_arrived():
    catch_up = CatchUp()
    catch_up.begin(5)

    assert not catch_up.arrived(4)
    assert catch_up.arrived(7)
    assert not catch_up.arrived(8)  # said once
    assert catch_up.is_ready("sess_1")


def test_a_session_that_is_not_resolved_is_not_ready():
    catch_up = CatchUp()
    catch_up.begin(0)
    catch_up.unresolved["sess_1"] = [new(1)]

    assert not catch_up.is_ready("sess_1") and catch_up.is_ready("sess_2")


def test_only_new_jobs_up_to_the_last_of_the_takeover_were_there():
    catch_up = CatchUp()
    catch_up.begin(5)

    assert catch_up.was_there(arrived(5))
    assert not catch_up.was_there(arrived(6))
    assert not catch_up.was_there(arrived(5, "RETRIES"))
    assert not catch_up.was_there(parked(5))
