"""Tracks which edge processes are alive and which of them owns each webhook partition, as the bucket LEASES has it.

`hook.member.<id>` is a key with a TTL that a process refreshes as long as it lives. `hook.owner.<partition>` names the
owner of a partition; nobody owns it where its holder is not a living member. It is empty where the last owner released it in good order.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import msgspec

from router.bucket_cache import BucketCache
from router.nats.bucket import Bucket, Entry
from router.stored import decoder
from router.topology import LEASES

MEMBER, OWNER = "hook.member", "hook.owner"
KEYS = "hook.*.*"
# What the key of a living process holds. `1` is that of a version that reads and writes EVENTS alone: after a reshard it would find
# no events, and say nothing.
ALIVE = b"2"
# A holder that is nobody: the partition is free, and its last owner did not let it go in good order.
ABANDONED = "-"
# A lease is refreshed each second at least, and three times in its ttl; a member that was silent while five refreshes of our own were
# heard is gone.
MISSED = 5


def member_key(holder: str) -> str:
    """The key of LEASES that says that a process lives."""
    return f"{MEMBER}.{holder}"


def owner_key(partition: int) -> str:
    """The key of LEASES that says who owns a partition."""
    return f"{OWNER}.{partition}"


def owner_value(holder: str) -> bytes:
    """The value of an owner's key; an empty holder lets the partition go in good order, ABANDONED in bad order."""
    return msgspec.json.encode(_Owned(holder))


class _Owned(msgspec.Struct):
    """Who owns a partition; nobody where `holder` is empty."""

    holder: str


_owned = decoder(_Owned, LEASES)


@dataclass(slots=True)
class _Member:
    """Another process: when it was last heard of, and how often we were heard ourselves since then.

    Where the watch is broken a process does not receive its own key either, and so no member counts as gone.
    """

    heard: float
    missed: int = 0


class Ownership:
    """The members and owners, as far as this process knows. `ttl` is that of a member's key, in seconds."""

    def __init__(self, count: int, holder: str, ttl: float) -> None:
        self.count = count
        self.holder = holder
        self._ttl = ttl
        self._members: dict[str, _Member] = {}  # the others
        self._owners: BucketCache[int, str] = BucketCache()

    def heard(self, entry: Entry) -> bool:
        """Takes what the watch reports; returns whether that may change who should own what."""
        _, kind, name = entry.key.split(".")
        if kind == "member":
            return self._heard_member(name, alive=entry.value is not None)
        if kind != "owner" or not name.isdigit():
            return False
        if entry.value is None:
            self._owners.drop(int(name), entry.revision)
        else:
            self._owners.put(int(name), _holder_of(entry), entry.revision)
        return True

    def _heard_member(self, name: str, alive: bool) -> bool:
        if name == self.holder:
            for member in self._members.values():
                member.missed += 1
            return any(member.missed == MISSED for member in self._members.values())
        if not alive:
            return self._members.pop(name, None) is not None
        is_new = name not in self._members
        self._members[name] = _Member(asyncio.get_running_loop().time())
        return is_new

    def wrote(self, partition: int, holder: str, revision: int) -> bool:
        """Takes the answer to an own write; returns whether it is still the newest."""
        self._owners.put(partition, holder, revision)
        return self._owners.revision(partition) == revision

    def read(self, partition: int, entry: Entry | None, before: int) -> bool:
        """Takes the leader's answer to a read that began at revision `before`; returns whether it is news."""
        if entry is None or entry.value is None:
            return self._owners.correct(partition, None, entry.revision if entry else 0, before)
        return self._owners.correct(partition, _holder_of(entry), entry.revision, before)

    def clear(self) -> None:
        """Forgets everything: the bucket was recreated."""
        self._owners.clear()
        self._members.clear()

    def owner(self, partition: int) -> str:
        """Who owns a partition, alive or not; "" for nobody."""
        return self._owners.get(partition) or ""

    def revision(self, partition: int) -> int:
        """The revision of what is known of a partition's key."""
        return self._owners.revision(partition)

    def has_record(self, partition: int) -> bool:
        """Whether the partition's key has a value, be it that of nobody."""
        return partition in self._owners

    def alive(self) -> list[str]:
        """The living members in their order, this process among them.

        The server reports a key whose ttl ran out; where that report was missed, the member is believed gone a little later.
        """
        oldest = asyncio.get_running_loop().time() - self._ttl - 1.0
        found = {name for name, each in self._members.items() if each.missed < MISSED or each.heard > oldest}
        return sorted(found | {self.holder})

    def share(self, alive: list[str]) -> int:
        """How many partitions this process should own."""
        return self.count // len(alive) + (1 if alive.index(self.holder) < self.count % len(alive) else 0)

    def free(self, alive: list[str]) -> list[int]:
        """The partitions that no living member owns."""
        return [partition for partition in range(self.count) if self.owner(partition) not in alive]


def _holder_of(entry: Entry) -> str:
    # A value that cannot be decoded names nobody: the next process that claims the partition overwrites it.
    owned = _owned(entry.key, entry.value)
    return owned.holder if owned is not None else ""


async def before_shards(bucket: Bucket, seconds: float) -> list[str]:
    """Reads which living edge processes are of a version that knows nothing of shards. Raises BrokerError.

    Who lives refreshes its key within so many seconds. A server that was restarted may bring back keys that had expired.
    """
    before = await _before_shards(bucket)
    if before:
        await asyncio.sleep(seconds)
    after = await _before_shards(bucket) if before else {}
    return [name for name, revision in after.items() if before.get(name) != revision]


async def _before_shards(bucket: Bucket) -> dict[str, int]:
    entries = [await bucket.read(key) for key in sorted(await bucket.names(f"{MEMBER}.*"))]
    return {entry.key.removeprefix(f"{MEMBER}."): entry.revision for entry in entries if entry.value == b"1"}


async def unowned(bucket: Bucket, count: int) -> tuple[list[int], int]:
    """Reads which partitions no living process owns, and how many processes live, for a process that is no member.

    Raises BrokerError.
    """
    living = {
        entry.key.removeprefix(f"{MEMBER}.")
        for key in await bucket.names(f"{MEMBER}.*")
        if (entry := await bucket.get(key)) is not None
    }
    free = []
    for partition in range(count):
        entry = await bucket.get(owner_key(partition))
        if entry is None or _holder_of(entry) not in living:
            free.append(partition)
    return free, len(living)
