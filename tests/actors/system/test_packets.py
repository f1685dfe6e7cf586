from __future__ import annotations

from actors.system.packets import MAX_BYTES, MAX_PACKETS, PacketQueue


def taken(queue: PacketQueue) -> list[int]:
    return [packet[0]["packet"] for packet in iter(queue.take, None)]


def test_packets_come_out_in_the_order_in_which_they_were_put() -> None:
    queue = PacketQueue()
    for number in range(MAX_PACKETS):
        assert queue.put({"packet": number, "key": number == 0}, b"x") is None

    assert taken(queue) == list(range(MAX_PACKETS))


def test_a_full_queue_drops_all_that_waits_and_takes_the_next_key() -> None:
    queue = PacketQueue()
    for number in range(MAX_PACKETS):
        queue.put({"packet": number, "key": number == 0}, b"x")

    assert queue.put({"packet": MAX_PACKETS, "key": False}, b"x") == MAX_PACKETS + 1
    assert taken(queue) == []
    assert queue.put({"packet": MAX_PACKETS + 1, "key": True}, b"x") is None
    assert taken(queue) == [MAX_PACKETS + 1]


def test_a_key_that_fills_the_queue_is_kept() -> None:
    queue = PacketQueue()
    queue.put({"packet": 0, "key": True}, bytes(MAX_BYTES - 1))

    assert queue.put({"packet": 1, "key": True}, b"xx") == 1
    assert taken(queue) == [1]


def test_after_a_loss_the_next_packet_says_so() -> None:
    queue = PacketQueue()
    queue.put({"packet": 0, "key": True}, b"x")
    assert queue.take() is not None
    assert queue.lose() == 0

    assert queue.put({"packet": 1, "key": False}, b"x") == 1
    assert queue.take() is None
