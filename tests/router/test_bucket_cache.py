from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from router.bucket_cache import DELETED, BucketCache


@dataclass(frozen=True)
class Write:
    """One write to a bucket: a value, or a deletion where there is none."""

    key: str
    value: str | None
    revision: int


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Write], list[Write]]:
    """What was written to a bucket, in its order, and the order in which a process learns of it, some of it twice."""
    written = draw(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=1, max_size=12))
    writes = [Write(key, f"{n}" if kept else None, n + 1) for n, (key, kept) in enumerate(written)]
    again = draw(st.lists(st.sampled_from(writes), max_size=6))
    return writes, draw(st.permutations(writes + again))


@given(histories())
def test_in_whatever_order_writes_are_learnt_of_the_newest_of_each_key_is_kept(
    history: tuple[list[Write], list[Write]],
) -> None:
    writes, told = history
    mirror: BucketCache[str, str] = BucketCache()

    for write in told:
        if write.value is None:
            mirror.drop(write.key, write.revision)
        else:
            mirror.put(write.key, write.value, write.revision)

    newest = {write.key: write for write in writes}
    assert dict(mirror.values) == {key: write.value for key, write in newest.items() if write.value is not None}
    assert all(mirror.revision(key) == write.revision for key, write in newest.items())


def test_the_answer_to_an_own_write_does_not_replace_what_was_written_over_it() -> None:
    mirror: BucketCache[str, str] = BucketCache()
    assert mirror.put("owner", "newcomer", 8)

    assert not mirror.put("owner", "ours", 7)

    assert mirror.get("owner") == "newcomer" and mirror.revision("owner") == 8


def test_a_value_that_is_reported_after_its_deletion_stays_deleted() -> None:
    mirror: BucketCache[str, str] = BucketCache()
    mirror.drop("session", 5)

    assert not mirror.put("session", "late", 4)
    assert "session" not in mirror
    assert mirror.put("session", "made again", 6)


def test_a_key_that_vanished_under_its_own_revision_is_dropped() -> None:
    mirror: BucketCache[str, str] = BucketCache()
    mirror.put("purged", "value", 3)

    assert mirror.drop("purged", 3)
    assert len(mirror) == 0


def test_what_the_leader_answers_counts_even_if_it_is_older_unless_something_was_learnt_meanwhile() -> None:
    mirror: BucketCache[str, str] = BucketCache()
    mirror.put("owner", "of before the restore", 90)

    assert mirror.correct("owner", "restored", 40, before=90)
    assert mirror.get("owner") == "restored" and mirror.revision("owner") == 40
    assert not mirror.correct("owner", "restored", 40, before=40)

    mirror.put("owner", "news", 41)
    assert not mirror.correct("owner", "restored", 40, before=40)
    assert mirror.get("owner") == "news"

    # Purged without a marker: it can be made again under revision 0.
    assert mirror.correct("owner", None, 0, before=41)
    assert "owner" not in mirror and mirror.revision("owner") == 0


def test_deletions_are_remembered_in_bounded_number() -> None:
    mirror: BucketCache[int, str] = BucketCache()

    for key in range(2 * DELETED):
        mirror.put(key, "value", 2 * key + 1)
        mirror.drop(key, 2 * key + 2)

    assert len(mirror._deleted) == DELETED and not mirror._revisions and not mirror.values
