"""Counts of deliveries add up, over receipts, repeats and processes."""

from __future__ import annotations

from edge.stats import EVERYTHING, Stats, beside, describe, received, total


def test_an_answer_that_is_given_twice_waits_for_one_receipt():
    stats = Stats()
    stats.handed(5, "1-a-5")
    stats.handed(5, "1-a-5")
    assert (stats.sent, stats.queued) == (10, 10)
    stats.acknowledged("1-a-5")
    assert (stats.delivered, stats.queued) == (10, 0)


def test_a_receipt_is_good_for_what_every_process_handed_out_before_it():
    one, other = Stats(), Stats()
    one.handed(5, "1-a-05")
    one.handed(5, "1-a-10")
    other.acknowledged("1-a-05")
    other.acknowledged(EVERYTHING)
    whole = received(total([one, other]))
    assert (whole.sent, whole.delivered, whole.queued) == (10, 5, 5)


def test_what_was_sent_is_delivered_failed_dropped_or_queued() -> None:
    stats = Stats()

    stats.offered(10)
    stats.written(4)
    stats.superseded(1)
    stats.failed += 2
    stats.taken_back(1)

    shown = describe("sess_1", stats)
    assert (shown["events_sent"], shown["queued_events"], shown["conflated"]) == (9, 2, 1)
    assert shown["delivery_rate"] == round(4 / 7, 3) and shown["last_delivery_at"] == stats.last_delivery


def test_a_poller_that_sends_no_cursor_back_is_believed_after_sixteen_answers() -> None:
    stats = Stats()

    for page in range(20):
        stats.handed(1, f"cursor-{page:02d}")

    assert (stats.delivered, stats.queued, len(stats.awaited)) == (4, 16, 16)
    stats.acknowledged(EVERYTHING)
    assert (stats.delivered, stats.queued, stats.receipt) == (20, 0, "")


def test_counts_of_processes_are_added_and_marks_are_the_furthest() -> None:
    parts = [Stats(sent=3, lag=5, oldest=1.0, last_error="first"), Stats(sent=4, lag=2, oldest=9.0)]

    whole = total(parts)

    assert (whole.sent, whole.lag, whole.oldest, whole.last_error) == (7, 5, 9.0, "first")


def test_readers_beside_a_webhook_change_nothing_of_its_counts() -> None:
    shown = beside(Stats(sent=5, delivered=5), Stats(sent=2, sses=1, polls=3, lag=4))

    assert (shown.sent, shown.delivered, shown.sses, shown.polls, shown.lag) == (5, 5, 1, 3, 4)
