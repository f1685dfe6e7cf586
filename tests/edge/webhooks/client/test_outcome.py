from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from edge.webhooks.client.outcome import MAX_RETRY_AFTER, Verdict, of_fault, of_status, pause, wait_of
from edge.webhooks.metrics import OUTCOMES

NOW = 1_800_000_000.0


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 299])
def test_any_2xx_is_success(status: int):
    assert of_status(status, None, 0.1).verdict is Verdict.DELIVERED


@pytest.mark.parametrize(("status", "fault"), [(410, "gone"), (413, "payload_too_large"), (415, "unsupported_type")])
def test_an_answer_that_another_try_cannot_change_is_final(status: int, fault: str):
    outcome = of_status(status, None, 0.1)

    assert (outcome.verdict, outcome.fault) == (Verdict.FINAL, fault)


@pytest.mark.parametrize(
    ("status", "fault"),
    [(301, "redirect"), (302, "redirect"), (307, "redirect"), (304, "redirect"), (400, "rejected"), (401, "rejected"),
     (404, "rejected"), (408, "rejected"), (429, "throttled"), (500, "server_error"), (503, "server_error")],
)  # fmt: skip
def test_every_other_answer_is_a_failure_worth_another_try(status: int, fault: str):
    outcome = of_status(status, None, 0.1)

    assert (outcome.verdict, outcome.fault) == (Verdict.RETRY, fault)
    assert fault in OUTCOMES


@pytest.mark.parametrize("fault", [TimeoutError(), ConnectionResetError(), OSError("?"), ValueError("?")])
def test_no_answer_is_a_failure_worth_another_try(fault: Exception):
    outcome = of_fault(fault, 0.1)

    assert outcome.verdict is Verdict.RETRY and outcome.fault in OUTCOMES


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, 0.0), ("", 0.0), ("0", 0.0), ("120", 120.0), (" 7 ", 7.0), ("-5", 0.0), ("soon", 0.0), ("1.5e400", 0.0),
     ("9" * 400, MAX_RETRY_AFTER), ("99999999", MAX_RETRY_AFTER), ("Wed, 99 Foo 2026 00:00:00 GMT", 0.0)],
)  # fmt: skip
def test_retry_after_in_seconds_is_read_and_clamped(text: str | None, seconds: float):
    assert wait_of(text, NOW) == seconds


@pytest.mark.parametrize(("ahead", "seconds"), [(30, 30.0), (-30, 0.0), (10 * 86400, MAX_RETRY_AFTER)])
def test_retry_after_as_a_date_is_read_and_clamped(ahead: float, seconds: float):
    date = format_datetime(datetime.fromtimestamp(NOW + ahead, UTC), usegmt=True)

    assert wait_of(date, NOW) == seconds
    assert wait_of(date.replace("GMT", "-0000"), NOW) == seconds


def test_the_pause_uses_the_whole_range_of_the_schedule_and_stays_in_it():
    pauses = [pause(2, (1, 10, 100)) for _ in range(2000)]

    assert 0 <= min(pauses) < 1 and 9 < max(pauses) <= 10
    assert max(pause(50, (1, 10)) for _ in range(100)) <= 10


def test_the_pause_never_ends_before_retry_after():
    assert min(pause(1, (1,), retry_after=20.0) for _ in range(200)) >= 20.0


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_who_has_too_much_to_do_is_sent_less(status: int):
    assert of_status(status, None, 0.1).slow_down
    assert not of_status(500, None, 0.1).slow_down


@pytest.mark.parametrize("status", [200, 204, 410, 500])
def test_a_receiver_may_say_that_it_wants_nothing_more(status: int):
    outcome = of_status(status, None, 0.1, control=" Disable ")

    assert outcome.disable
    # What it took is delivered all the same, and what it did not take may come again once it is enabled.
    assert outcome.verdict is {200: Verdict.DELIVERED, 204: Verdict.DELIVERED, 410: Verdict.FINAL}.get(
        status, Verdict.RETRY
    )


def test_gone_disables_and_nothing_else_does_by_itself():
    assert [status for status in range(200, 600) if of_status(status, None, 0.1).disable] == [410]


def test_a_receiver_may_give_up_one_delivery():
    outcome = of_status(500, "7", 0.1, control="abort-message")

    assert (outcome.verdict, outcome.fault, outcome.disable) == (Verdict.FINAL, "aborted", False)
    assert of_status(200, None, 0.1, control="abort-message").verdict is Verdict.DELIVERED
    assert of_status(500, None, 0.1, control="nonsense").verdict is Verdict.RETRY
