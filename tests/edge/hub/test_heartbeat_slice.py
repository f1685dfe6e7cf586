"""Readers that are due together are written one heartbeat, and each is told what it would be told by itself."""

from __future__ import annotations

import contextlib
import math
import socket
import time
from collections.abc import Iterator
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.hub import heartbeat_slice
from edge.hub.heartbeat_slice import HeartbeatSlice
from edge.types import DirectWriter, Subscriber
from router.position import Position, of_one


class Received:
    """Up to where events were received and handed out."""

    def __init__(self) -> None:
        self.sequence = 0

    def __call__(self) -> Position:
        return of_one(self.sequence)


class Group:
    """A write group, as far as heartbeats go."""

    def __init__(self) -> None:
        self.position = self.reported = of_one(0)


class Writer:
    """A reader in a write group, over a real pair of sockets."""

    def __init__(self, place: HeartbeatSlice, group: Group | None, received: Received) -> None:
        self.share_place = -1
        self.group = group
        self.told = of_one(0)
        self.differs_at = math.inf
        # After how many seconds it is due for a ping, from its next own heartbeat on.
        self.ping_after = math.inf
        self.asked = 0
        self.rests: list[bytes] = []
        self.ours, self.client = socket.socketpair()
        self.ours.setblocking(False)
        self.client.setblocking(False)
        self.descriptor = self.ours.fileno()
        self._received = received
        self._slice = place
        place.add(self._subscriber)

    @property
    def _subscriber(self) -> Subscriber:
        return cast(Subscriber, self)

    @property
    def reported(self) -> Position:
        return self.told if self.group is None else self.told.joined(self.group.reported)

    def beat(self) -> None:
        self.asked += 1
        received = self._received()
        if self.group is not None:
            self.group.position = self.group.position.joined(received)
        control = "heartbeat" if self.reported == received else "position"
        self.told = received
        self.differs_at = time.monotonic() + self.ping_after
        self.ours.send(self.encoded_heartbeat(control, received))

    def encoded_heartbeat(self, control: str, position: Position) -> bytes:
        return f"{control} {position.sequences[0]}\n".encode()

    def remainder(self, form: bytes, sent: int) -> None:
        self.rests.append(form[sent:])

    def leave_group(self) -> None:
        self._slice.separate(self._subscriber)
        self.told, self.group = self.reported, None

    def end(self) -> None:
        assert self._slice.discard(self._subscriber) and not self._slice.discard(self._subscriber)
        self.ours.close()

    @property
    def heard(self) -> list[str]:
        """What its client got since it was looked at last."""
        try:
            return self.client.recv(100_000).decode().splitlines()
        except BlockingIOError:
            return []

    def close(self) -> None:
        self.ours.close()
        self.client.close()


@pytest.fixture
def place() -> HeartbeatSlice:
    return HeartbeatSlice()


@pytest.fixture
def group() -> Group:
    return Group()


@pytest.fixture
def received() -> Received:
    return Received()


@pytest.fixture
def three(place: HeartbeatSlice, group: Group, received: Received) -> Iterator[list[Writer]]:
    writers = [Writer(place, group, received) for _ in range(3)]
    yield writers
    for writer in writers:
        writer.close()


def beat(place: HeartbeatSlice, received: Received, sequence: int) -> None:
    """Sends the heartbeats that are due where events up to a sequence were received."""
    received.sequence = sequence
    for _ in place.beat(received):
        pass


def test_readers_are_asked_once_and_then_written_one_heartbeat_until_they_differ(
    place: HeartbeatSlice, received: Received, three: list[Writer]
) -> None:
    beat(place, received, 5)
    assert [writer.heard for writer in three] == [["position 5"]] * 3

    beat(place, received, 5)
    beat(place, received, 7)
    beat(place, received, 7)
    assert [writer.heard for writer in three] == [["heartbeat 5", "position 7", "heartbeat 7"]] * 3
    assert [writer.asked for writer in three] == [1, 1, 1]


def test_where_one_is_due_for_a_ping_all_send_theirs_by_themselves_and_hear_what_they_did_before(
    place: HeartbeatSlice, received: Received, three: list[Writer]
) -> None:
    three[1].ping_after = 0.0
    beat(place, received, 5)
    beat(place, received, 5)
    three[1].ping_after = 0.1
    beat(place, received, 5)
    assert [writer.asked for writer in three] == [3, 3, 3]

    three[1].ping_after = math.inf
    beat(place, received, 6)
    said = [writer.heard for writer in three]
    while three[1].asked == 3:
        beat(place, received, 6)
        said = [[*before, *writer.heard] for before, writer in zip(said, three, strict=True)]

    assert [writer.asked for writer in three] == [4, 4, 4]
    assert said[0] == said[1] == said[2]
    assert said[0][:4] == ["position 5", "heartbeat 5", "heartbeat 5", "position 6"] and set(said[0][4:]) == {
        "heartbeat 6"
    }


def test_readers_that_share_from_the_start_are_not_asked_for_their_first_heartbeat(
    place: HeartbeatSlice, received: Received, three: list[Writer]
) -> None:
    for writer in three:
        place.join(cast(Subscriber, writer))
        place.join(cast(Subscriber, writer))

    beat(place, received, 5)

    assert [writer.heard for writer in three] == [["position 5"]] * 3
    assert [writer.asked for writer in three] == [0, 0, 0] and len(place.readers) == 3


def test_readers_whose_events_said_the_position_are_sent_a_heartbeat(
    place: HeartbeatSlice, group: Group, received: Received, three: list[Writer]
) -> None:
    beat(place, received, 5)
    group.position = group.reported = of_one(6)
    beat(place, received, 6)

    assert [writer.heard for writer in three] == [["position 5", "heartbeat 6"]] * 3


def test_what_a_socket_does_not_take_is_left_to_its_reader(
    place: HeartbeatSlice, received: Received, three: list[Writer]
) -> None:
    beat(place, received, 5)
    slow, gone = three[0], three[2]
    with pytest.raises(BlockingIOError):
        while True:
            slow.ours.send(bytes(10_000))
    gone.client.close()

    beat(place, received, 5)

    assert slow.rests == gone.rests == [b"heartbeat 5\n"]
    assert three[1].heard == ["position 5", "heartbeat 5"] and three[1].rests == []


def test_who_leaves_while_others_are_written_to_hides_nobody(
    place: HeartbeatSlice, group: Group, received: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat_slice, "BEATS_AT_ONCE", 2)
    writers = [Writer(place, group, received) for _ in range(7)]
    beat(place, received, 1)
    assert all(writer.heard for writer in writers)

    received.sequence = 2
    parts = place.beat(received)
    next(parts)
    writers[0].end()
    writers[6].end()
    next(parts)
    writers[3].end()
    for _ in parts:
        pass

    assert {writer.heard[-1] for writer in (writers[1], writers[2], writers[4], writers[5])} == {"position 2"}
    assert len(place.readers) == 4
    for writer in writers:
        writer.close()


def test_what_comes_while_heartbeats_are_written_is_told_to_all_by_the_next_ones(
    place: HeartbeatSlice, received: Received, three: list[Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat_slice, "BEATS_AT_ONCE", 1)
    for ping_after in (math.inf, 0.0):
        for writer in three:
            writer.ping_after = ping_after
        beat(place, received, received.sequence)

        parts = place.beat(received)
        next(parts)
        received.sequence += 1
        for _ in parts:
            pass
        beat(place, received, received.sequence)

        assert all(f"position {received.sequence}" in writer.heard for writer in three)


def test_heartbeats_end_where_all_leave_while_the_first_are_written(
    place: HeartbeatSlice, received: Received, three: list[Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat_slice, "BEATS_AT_ONCE", 1)
    beat(place, received, 1)

    parts = place.beat(received)
    next(parts)
    for writer in three:
        writer.end()

    assert list(parts) == [] and place.readers == []


def test_who_was_told_more_than_the_others_joins_them_when_they_were_told_the_same(
    place: HeartbeatSlice, group: Group, received: Received, three: list[Writer]
) -> None:
    beat(place, received, 1)
    late = Writer(place, group, received)

    parts = place.beat(received)
    next(parts)
    received.sequence = 2
    for _ in parts:
        pass
    assert late.heard == ["position 2"] and late.share_place == -1

    beat(place, received, 2)
    assert late.heard == ["heartbeat 2"] and late.share_place >= 0
    late.close()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ("come", "come", "alone", "leave", "join", "end", "event", "receive", "ping", "beat", "beat", "part")
        ),
        st.integers(0, 7),
    ),
    max_size=60,
)


@settings(max_examples=300)
@given(STEPS)
def test_each_reader_is_told_what_it_would_be_told_by_itself(steps: list[tuple[str, int]]) -> None:
    """In `part` some leave their groups, others end, and more is received while heartbeats are written."""
    place, groups, received = HeartbeatSlice(), [Group(), Group()], Received()
    writers: list[Writer] = []
    told: dict[Writer, int] = {}

    def listen(to: list[Writer], since: int) -> None:
        """Each had a heartbeat with what was received; what it had not been told came as a position."""
        for writer in to:
            heard = writer.heard
            assert heard
            for control, _, at in (each.partition(" ") for each in heard):
                assert since <= int(at) <= received.sequence and told[writer] <= int(at)
                assert control == "position" or told[writer] == int(at)
                told[writer] = int(at)

    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setattr(heartbeat_slice, "BEATS_AT_ONCE", 2)
        for step, which in steps:
            one = writers[which % len(writers)] if writers else None
            group = groups[which % 2]
            match step:
                case "come" | "alone":
                    writers.append(Writer(place, group if step == "come" else None, received))
                    stack.callback(writers[-1].close)
                    told[writers[-1]] = group.reported.sequences[0] if step == "come" else 0
                case "event":
                    received.sequence += 1
                    group.position = group.reported = received()
                    told.update((writer, received.sequence) for writer in writers if writer.group is group)
                case "ping" if one is not None:
                    one.ping_after = 0.0 if one.ping_after else math.inf
                case "receive":
                    received.sequence += 1
                case "beat":
                    beat(place, received, received.sequence)
                    listen(writers, received.sequence)
                case "part":
                    since, gone = received.sequence, writers[:which]
                    parts = place.beat(received)
                    next(parts, None)
                    received.sequence += which % 3
                    for number, writer in enumerate(gone):
                        if number % 2:
                            writer.leave_group()
                        else:
                            writer.end()
                            writers.remove(writer)
                    for _ in parts:
                        pass
                    listen([writer for writer in writers if writer not in gone], since)
                    for writer in set(writers) & set(gone):
                        told[writer] = max([told[writer], *(int(each.partition(" ")[2]) for each in writer.heard)])
                case "leave" if one is not None:
                    one.leave_group()
                case "join" if one is not None and one.group is None:
                    # It has had all events that the group has had.
                    told[one] = max(told[one], group.reported.sequences[0])
                    one.told, one.group = of_one(told[one]), group
                    if which % 3:
                        place.join(cast(Subscriber, one))
                case "end" if one is not None:
                    one.end()
                    writers.remove(one)
            assert sorted(map(id, place.readers)) == sorted(map(id, writers))


def test_a_reader_without_a_group_is_always_asked(place: HeartbeatSlice, received: Received) -> None:
    writer = Writer(place, None, received)
    beat(place, received, 1)
    beat(place, received, 1)

    assert writer.asked == 2 and cast(DirectWriter, writer).share_place == -1
    writer.close()
