"""The filter process: requests are framed and sliced, principals take turns, and a child that is lost costs no event."""

from __future__ import annotations

import asyncio
import sys

import pytest

from edge.filters.child import Evaluator
from edge.filters.process import MAX_BYTES, MAX_EVENTS, SLICE_BYTES, SLICE_EVENTS, FilterProcess, _Pipes, _slices
from router.codec import encode
from router.errors import Timeout
from router.event import Event


def test_an_event_goes_to_the_filter_process_once_and_by_its_number_afterwards() -> None:
    pipes = _Pipes()
    payloads = [encode(Event.new("job.x.output", {"n": n, "text": "x" * 300_000})) for n in range(6)]
    evaluator = Evaluator()
    sent = []

    for n in range(100):
        for payload in payloads:
            request = pipes._request(f"data.n == {n}", [payload])
            sent += request[2]
            assert list(evaluator.answer(*request)) == [int(payload is payloads[n])] if n < 6 else [0]

    assert sent == payloads


def test_the_filter_process_keeps_what_its_parent_says_and_no_more() -> None:
    pipes, evaluator = _Pipes(), Evaluator()
    for n in range(3 * MAX_EVENTS):
        payload = encode(Event.new("job.x.output", {"n": n}))
        assert list(evaluator.answer(*pipes._request(f"data.n == {n}", [payload]))) == [1]
    assert len(pipes._numbers) == len(evaluator._events) == MAX_EVENTS

    large = [encode(Event.new("job.x.output", {"n": n, "text": "x" * 900_000})) for n in range(40)]
    for payload in large:
        evaluator.answer(*pipes._request("data.n == 1", [payload]))
    assert sum(map(len, pipes._numbers)) <= MAX_BYTES
    assert set(pipes._numbers.values()) == set(evaluator._events)


async def test_many_sessions_of_one_principal_wait_in_one_place_of_the_line() -> None:
    process = FilterProcess()
    payloads = [encode(Event.new("job.x.output", {"n": 1}))] * (2 * SLICE_EVENTS)
    order: list[str] = []

    async def ask(owner: str, text: str) -> None:
        assert await process.ask(owner, text, payloads) == [True] * len(payloads)
        order.append(owner)

    try:
        async with asyncio.TaskGroup() as group:
            for n in range(30):
                group.create_task(ask("many", f"data.n == 1 && {n} == {n}"))
            group.create_task(ask("few", "data.n == 1"))
    finally:
        await process.close()

    # Its two slices wait for one of the other's each.
    assert order.index("few") <= 4


def test_a_slice_is_bounded_in_events_and_bytes() -> None:
    payloads = [b"x" * size for size in [10] * 200 + [SLICE_BYTES - 1, 2, SLICE_BYTES * 3, 1]]

    slices = _slices(payloads)

    assert [payload for some in slices for payload in some] == payloads
    assert all(len(some) <= SLICE_EVENTS for some in slices)
    assert all(len(some) == 1 or sum(map(len, some)) <= SLICE_BYTES for some in slices)


async def test_a_reader_that_leaves_while_it_waits_takes_no_other_s_answer() -> None:
    process = FilterProcess()
    one = [encode(Event.new("job.x.output", {"n": 1}))]
    try:
        await process.ask("one", "data.n == 1", one)
        leaving = asyncio.ensure_future(process.ask("one", "data.n == 1", one * 64))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        leaving.cancel()

        assert await process.ask("two", "data.n == 2", one * 3) == [False] * 3
        assert await process.ask("two", "data.n == 1", one * 3) == [True] * 3
    finally:
        await process.close()


async def test_a_process_that_is_lost_is_started_again_and_costs_no_event() -> None:
    process = FilterProcess()
    payloads = [encode(Event.new("job.x.output", {"n": n})) for n in range(10)]
    try:
        await process.ask("one", "data.n == 1", payloads)
        assert process._pipes is not None and process._pipes.transport is not None
        process._pipes.transport.kill()

        assert await process.ask("one", "data.n == 1", payloads) == [n == 1 for n in range(10)]
    finally:
        await process.close()


async def test_a_process_whose_pipe_was_closed_a_moment_ago_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    process = FilterProcess()
    payloads = [encode(Event.new("job.x.output", {"n": n})) for n in range(10)]
    try:
        await process.ask("one", "data.n == 1", payloads)
        lost = process._pipes
        assert lost is not None and lost.transport is not None
        pipe = lost.transport.get_pipe_transport(0)
        assert pipe is not None
        pipe.close()
        # What tells of it runs in the next turn only, behind what is asked now.
        monkeypatch.setattr(lost, "pipe_connection_lost", lambda *_: None)
        monkeypatch.setattr(lost, "process_exited", lambda: None)
        await asyncio.sleep(0)

        assert await process.ask("one", "data.n == 1", payloads) == [n == 1 for n in range(10)]
        assert lost.lost and process._pipes is not lost
    finally:
        await process.close()


async def test_an_event_over_which_the_process_ends_is_left_out_and_the_others_are_not() -> None:
    # A child that ends as soon as it sees the word.
    child = (
        "import sys\n"
        "while head := sys.stdin.buffer.read(4):\n"
        "    said = sys.stdin.buffer.read(int.from_bytes(head, 'big'))\n"
        "    if b'poison' in said: sys.exit(1)\n"
        "    count = said.count(b'healthy')\n"
        "    sys.stdout.buffer.write(count.to_bytes(4, 'big') + b'\\1' * count)\n"
        "    sys.stdout.buffer.flush()\n"
    )
    process = FilterProcess((sys.executable, "-c", child))
    try:
        assert await process.ask("one", "true", [b"healthy", b"poison", b"healthy"]) == [True, False, True]
    finally:
        await process.close()


async def test_where_no_process_can_be_started_nothing_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.filters.process.START_PAUSES", (0.01,))
    process = FilterProcess(("/nonexistent/python",))

    with pytest.raises(Timeout):
        await process.ask("one", "true", [b""])
