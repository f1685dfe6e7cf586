"""Cursors: what was issued comes back, what was not is refused, and where each leads."""

import re
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.broker import StreamState
from router.cursor import (
    DIGITS,
    UNKNOWN,
    Cursor,
    VectorCursor,
    digits,
    epoch_of,
    parse_cursor,
    parse_start,
    parse_time,
    rest_of_snapshot,
    shard_epoch,
)
from router.errors import BadCursor
from router.events_state import of_stream
from router.place import Gap, place_of
from router.position import of_one
from router.record import Record

SEQUENCES = st.integers(min_value=0, max_value=2**48 - 1)
CHECKS = st.integers(min_value=0, max_value=2**32 - 1)


@given(SEQUENCES, CHECKS)
def test_a_cursor_comes_back_as_it_was_issued(sequence: int, check: int) -> None:
    cursor = Cursor("0badcafe", sequence, check)

    assert Cursor.parse(str(cursor)) == cursor
    assert len(str(cursor)) == 32


@given(SEQUENCES)
def test_a_cursor_without_a_check_has_the_old_form_and_comes_back(sequence: int) -> None:
    cursor = Cursor("0badcafe", sequence)

    assert str(cursor) == f"1-0badcafe-{sequence:012x}"
    assert Cursor.parse(str(cursor)) == cursor
    assert cursor.check == UNKNOWN


@given(SEQUENCES, SEQUENCES, st.just(UNKNOWN) | CHECKS, st.just(UNKNOWN) | CHECKS)
def test_cursors_sort_like_their_sequences(one: int, other: int, check: int, another: int) -> None:
    if one != other:
        first, second = Cursor("0badcafe", one, check), Cursor("0badcafe", other, another)
        assert (str(first) < str(second)) == (one < other)


@given(SEQUENCES, st.text(max_size=12) | st.text("0123456789abcdefABCDEF-", max_size=10))
def test_behind_the_sequence_comes_a_check_of_eight_digits_or_nothing(sequence: int, rest: str) -> None:
    text = f"1-0badcafe-{sequence:012x}{rest}"
    if rest and not re.fullmatch(r"-[0-9a-f]{8}", rest):
        with pytest.raises(BadCursor):
            Cursor.parse(text)


def test_a_record_says_the_check_of_what_is_stored() -> None:
    record = Record(42, "job.x.output", b"123456789")

    assert record.cursor("0badcafe") == "1-0badcafe-00000000002a-cbf43926"


@given(st.text(max_size=40))
def test_what_was_not_issued_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        Cursor.parse(text)


def test_a_truncated_or_mangled_cursor_is_refused() -> None:
    whole = str(Cursor("0badcafe", 42))

    for token in (whole[:-1], whole + "0", whole.upper(), whole.replace("-", "_"), "2" + whole[1:], whole + "\n"):
        with pytest.raises(BadCursor):
            Cursor.parse(token)


@st.composite
def vectors(draw: st.DrawFn) -> VectorCursor:
    """Some shards of a generation, one after the other, of which one has a check or none."""
    first, generation = draw(st.integers(0, 63)), draw(st.integers(1, 999_999))
    lives = draw(st.lists(st.text(DIGITS, min_size=3, max_size=3), min_size=1, max_size=64 - first))
    own = draw(st.integers(-1, len(lives) - 1))
    return VectorCursor(
        tuple(
            Cursor(f"{generation}.{first + n}.{life}", draw(SEQUENCES), draw(CHECKS) if n == own else UNKNOWN)
            for n, life in enumerate(lives)
        )
    )


@given(vectors())
def test_a_cursor_of_several_shards_comes_back_as_it_was_issued(cursor: VectorCursor) -> None:
    assert parse_cursor(str(cursor)) == cursor
    assert re.fullmatch(r"2-[-0-9A-Za-z.~]+", str(cursor)) and quote(str(cursor), safe="") == str(cursor)
    assert len(str(cursor)) <= 40 + 11 * len(cursor.parts)
    with pytest.raises(BadCursor):
        Cursor.parse(str(cursor))


@pytest.mark.parametrize(("shards", "length"), [(2, 30), (4, 46), (16, 142), (64, 526)])
def test_a_cursor_of_several_shards_is_short(shards: int, length: int) -> None:
    parts = [Cursor(f"1.{index}.abc", 1_000_000_000) for index in range(shards)]
    parts[-1] = Cursor(parts[-1].epoch, 1_000_000_000, 2**32 - 1)

    assert len(str(VectorCursor(tuple(parts)))) == length <= 40 + 8 * shards


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**48 - 1))
def test_the_digits_of_numbers_have_their_order(one: int, other: int) -> None:
    assert (digits(one, 8) < digits(other, 8)) == (one < other)


@given(
    st.text(DIGITS + "._", max_size=40)
    | st.from_regex(r"[1-9]\.[-0-9A-Z]([1-4])[-0-2]{8,24}(\.[-0-5][-0-3]{6})?", fullmatch=True)
)
def test_a_cursor_of_several_shards_has_one_form(rest: str) -> None:
    try:
        cursor = parse_cursor("2-" + rest)
    except BadCursor:
        return
    assert str(cursor) == "2-" + rest


@given(st.text(max_size=40))
def test_any_other_text_behind_the_version_is_refused(rest: str) -> None:
    if not rest.isascii():
        with pytest.raises(BadCursor):
            parse_cursor("2-" + rest)


def test_a_cursor_of_several_shards_that_was_mangled_is_refused() -> None:
    whole = "2-1.-2abc01abd3~.0-----4"
    assert str(parse_cursor(whole)) == whole
    for text in (
        "2-",
        "2-1",
        "2-1.-2",
        "2-0.-2abc01abd3~",
        "2-01.-2abc01abd3~",
        "2-1.-3abc01abd3~",
        "2-1.-3abc-01abd-3~",
        "2-1.-9abc000000001",
        "2-1.~2abc01abd3~",
        "2-1.-2abc01abd3~.1-----4",
        "2-1.02abc01abd3~.------4",
        "2-1.-2abc01abd3~.03-----",
        whole + "\n",
        whole[:-1],
        whole + "0",
        "2-1.-1" + "abc1" * 65,
        "2-0badcafe.2a.9b1c04e2~0badcafe.7.cbf43926",
        "２" + whole[1:],
        "2-１" + whole[3:],
    ):
        with pytest.raises(BadCursor):
            parse_cursor(text)


def test_a_cursor_of_one_shard_is_read_as_it_always_was() -> None:
    cursor = Cursor("0badcafe", 42, 7)

    assert parse_cursor(str(cursor)) == cursor
    assert cursor.parts == (cursor,)


def test_two_lives_of_a_stream_have_two_epochs() -> None:
    assert epoch_of("EVENTS", "2026-01-01T00:00:00Z") != epoch_of("EVENTS", "2026-01-01T00:00:01Z")
    assert epoch_of("EVENTS_2_13", "2026-01-01T00:00:00Z") != epoch_of("EVENTS_2_13", "2026-01-01T00:00:01Z")


@given(st.text(max_size=20))
def test_the_epoch_of_a_shard_says_which_it_is_and_is_never_that_of_no_stream(created: str) -> None:
    assert re.fullmatch(r"2\.13\.[-0-9A-Za-z~]{3}", epoch_of("EVENTS_2_13", created))
    assert epoch_of("EVENTS_2_13", created) != shard_epoch(2, 13)
    assert re.fullmatch(r"[0-9a-f]{8}", epoch_of("EVENTS", created))


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 150))
def test_a_cursor_leads_on_or_to_a_gap_that_says_what_is_lost(first: int, length: int, sequence: int) -> None:
    state = of_stream(StreamState("e" * 8, first, first + length, length, 0))

    place = place_of(Cursor("e" * 8, sequence), state)

    begin = of_one(max(first - 1, 0))
    if sequence > first + length:
        assert place == (begin, Gap(of_one(0), begin, reset=True))
    elif sequence < first - 1:
        assert place == (begin, Gap(of_one(sequence + 1), begin, reset=False))
    else:
        assert place == (of_one(sequence), None)


def test_a_foreign_cursor_begins_anew_and_says_so() -> None:
    place = place_of(Cursor("aaaaaaaa", 7), of_stream(StreamState("bbbbbbbb", 3, 9, 7, 0)))

    assert place.after == of_one(2)
    assert place.gap is not None and place.gap.reset


def test_the_ways_to_say_where_to_begin() -> None:
    assert parse_start(None, None, None) is None
    assert parse_start("", "", "") is None
    assert parse_start("earliest").earliest
    assert parse_start("now").now
    assert parse_start(last="5").last == 5
    assert parse_start(since="2026-11-21T04:00:00Z").since == datetime(2026, 11, 21, 4, tzinfo=UTC)


@pytest.mark.parametrize("last", ["-1", "x", "100001", "1e3"])
def test_a_bad_last_is_refused(last: str) -> None:
    with pytest.raises(BadCursor):
        parse_start(last=last)


def test_two_starts_at_once_are_refused() -> None:
    with pytest.raises(BadCursor):
        parse_start("now", None, 5)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21T04:00:00",
        "2026-11-21T04:00:00Z",
        "2026-11-21T05:00:00+01:00",
        "2026-11-21T05:00:00 01:00",
        "1795233600",
        "1795233600000",
    ],
)
def test_times_are_read_in_the_forms_that_clients_send(text: str) -> None:
    assert parse_time(text) == datetime(2026, 11, 21, 4, tzinfo=UTC)


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "9" * 40, ""])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        parse_time(text)


def test_a_snapshot_is_a_place_to_begin_and_may_be_gone_on_with() -> None:
    begin = parse_start("snapshot")
    assert begin is not None and begin.snapshot and begin.cursor is None
    place = str(Cursor("0badcafe", 42, 7))

    rest = parse_start(rest_of_snapshot(place, (0, 0, 17)))

    assert rest is not None
    assert (rest.snapshot, str(rest.cursor), rest.shown) == (True, place, (0, 0, 17))
    several = "2-1.-2abc01abd3~.0-----4"
    rest = parse_start(rest_of_snapshot(several, (1, 1, 17)))
    assert rest is not None and (str(rest.cursor), rest.shown) == (several, (1, 1, 17))
    for wrong in ("snapshot-", "snapshot-11", f"snapshot-{place}", "snapshot-000000000011-x"):
        with pytest.raises(BadCursor):
            parse_start(wrong)
