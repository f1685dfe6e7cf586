"""An attempt knows the deliveries that it was of, and is shown without what is empty."""

from __future__ import annotations

from edge.webhooks.client.outcome import Outcome, Verdict
from edge.webhooks.history.attempt import Attempt, Part, decode, encode
from edge.webhooks.queue.job import delivery_id

SESSION = "sess_000000000000000000000001"
BAD = Outcome(Verdict.RETRY, 500, "server_error", seconds=0.01, head=b"no")


def attempt(outcome: Outcome = BAD, parts: list[Part] | None = None) -> Attempt:
    return Attempt.of(
        outcome, session=SESSION, delivery="d1", event="event-1", sequence=1, begun=1_000_000_000, parts=parts
    )


def test_an_attempt_survives_its_store():
    made = [attempt(), attempt(parts=[Part("event-1", 1), Part("event-2", 2)])]

    assert decode(encode(made)) == made


def test_a_single_attempt_is_of_its_own_delivery():
    single = attempt()

    assert single.deliveries == {"d1": Part("event-1", 1)} and single.weight == 1
    assert single.carried("event-1", "d1") and single.carried(None, None)
    assert not single.carried("event-2", None) and not single.carried(None, "d2")


def test_a_batch_is_of_the_delivery_of_each_of_its_events():
    batch = attempt(parts=[Part(f"event-{n}", n) for n in range(1, 101)])
    second = delivery_id("event-2", 2, SESSION)

    assert batch.deliveries[second] == Part("event-2", 2) and batch.weight == 7
    assert batch.carried("event-2", second) and batch.carried("event-100", None)


def test_the_answer_of_a_success_is_not_kept_and_that_of_a_failure_is():
    taken = attempt(Outcome(Verdict.DELIVERED, 200, head=b"thanks"))

    assert (taken.ok, taken.result, taken.head) == (True, "ok", b"")
    assert attempt().describe()["response_head"] == "no"
    assert attempt().describe()["next_attempt_at"] is None
