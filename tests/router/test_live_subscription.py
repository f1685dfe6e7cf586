"""What a subscription to live copies counts, by shard."""

from __future__ import annotations

from router.layout import generation
from router.live_subscription import LiveSubscription, Loss
from router.position import Position, lacking
from router.record import Record

SHARDS = generation(1, 2).shards


class Brought:
    """A subscription that is brought records as they are."""

    def __init__(self) -> None:
        self.taken: list[Record] = []
        self._coming: list[Record] = []
        self.subscription = LiveSubscription(">", lambda *_: self._coming.pop(), self.taken.append)

    def bring(self, *places: tuple[int, int]) -> None:
        for index, sequence in places:
            self._coming.append(Record(sequence, "a.b.c", b"", shard=SHARDS[index]))
            self.subscription.receive("", "", b"", b"")


def test_what_came_early_counts_where_it_lies_behind_the_beginning_of_its_shard() -> None:
    brought = Brought()
    brought.bring((0, 3), (1, 9), (0, 4))
    assert brought.subscription.received() is None

    brought.subscription.begin(Position(1, (3, 8)))

    assert brought.subscription.high == 2 and len(brought.taken) == 3


def test_it_counts_what_comes_between_two_positions_over_all_shards() -> None:
    brought = Brought()
    brought.subscription.begin(Position(1, (3, 8)))
    brought.bring((0, 4), (1, 9))
    brought.subscription.bind(Position(1, (5, 9)))
    # Late, and still before the bound; behind it; and one that was compared already.
    brought.bring((0, 5), (1, 10), (0, 3))
    assert (brought.subscription.low, brought.subscription.high) == (3, 1)

    brought.subscription.bind(Position(1, (5, 10)))

    assert brought.subscription.received() == 1


def test_what_is_not_compared_yet_reaches_to_the_loss_of_the_shard_alone() -> None:
    brought = Brought()
    brought.subscription.begin(Position(1, (3, 8)))
    brought.bring((0, 4), (1, 9), (1, 10))

    whole = brought.subscription.unverified(Position(1, (4, 10)), None)
    cut = brought.subscription.unverified(Position(1, (4, 10)), Loss("a.b.c", lacking(SHARDS[1], 8)))

    assert whole is not None and (whole.upto, whole.received) == (Position(1, (4, 10)), 3)
    assert cut is not None and (cut.upto, cut.received) == (Position(1, (4, 8)), None)
