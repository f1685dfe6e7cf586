"""Converts a job, which is one event for one webhook session, to a message in HOOKS or RETRIES, and back."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from msgspec.structs import replace

from router.clock import wall
from router.codec import DECODE_FAULTS, rfc3339, unpack
from router.deadletter import Origin
from router.event_place import locate, sequence_of
from router.nats.consumer import Message
from router.nats.publisher import Publish
from router.topology import HOOKS, RETRIES

FRESH = "hook.q"
PARKED = "hook.park"
DUE = "retry.due"
SCHEDULED = "retry.at"
# The subjects of operational events about webhooks.
OPERATIONAL = "system.webhook."
# Those of failed deliveries as the callback guide has errors.
FAILURES = "system.delivery."
ABOUT_ENDPOINTS = (OPERATIONAL, FAILURES)
# Sixteen: a dozen replicas still share them evenly, and a JetStream of three nodes carries their 32 consumers (one for new
# jobs and one for retries each) without being seen. All processes of a deployment must agree on it.
PARTITIONS = 16

Trigger = Literal["auto", "manual", "redrive"]
_TRIGGERS: Mapping[str, Trigger] = {"manual": "manual", "redrive": "redrive"}


_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.Decoder(list[tuple[dict[str, str], bytes]]).decode


def partition_of(session_id: str, partitions: int) -> int:
    """The partition that all jobs of a session go to."""
    return zlib.crc32(session_id.encode()) % partitions


def delivery_id(event_id: str, sequence: int, session_id: str) -> str:
    """Names the delivery of one event to one session: the same over all attempts, and over a later redrive.

    The event's place is part of it, because publishers choose ids, and two may choose the same.
    """
    return hashlib.blake2b(f"{event_id}@{sequence}:{session_id}".encode(), digest_size=16).hexdigest()


class Job(msgspec.Struct, frozen=True):
    """One event that one session is owed. `attempt` counts from 1; `queued` is when it was first asked for, in ns.

    `sequence` is the event's place (`router.event_place`): in an installation that was never resharded its sequence in EVENTS.

    A delivery that is asked for once more is another job of the same id: `run` counts how often, and `chain` tells it from
    every other that was asked for, so that its retries and its dead letter are not taken for repeats of theirs.
    """

    session: str
    partition: int
    event_id: str
    subject: str
    sequence: int
    payload: bytes
    queued: int
    attempt: int = 1
    parks: int = 0
    run: int = 0
    last_status: int = 0
    chain: str = ""
    trigger: Trigger = "auto"
    # When it was to come back, if it is a retry; in ns.
    due_at: int = 0
    # Its place among the jobs of its session, once it has been parked.
    order: int = 0
    # The jobs that go out in one post, if this stands for several.
    parts: tuple[Job, ...] = ()
    # Attempts that were made of the batch it was split from; `attempt` counts them too, the limit of retries does not.
    tried: int = 0
    # The places in DEADLETTERS of this delivery's dead letters, which are removed once it is over.
    letters: tuple[int, ...] = ()

    @classmethod
    def batch(cls, parts: Sequence[Job]) -> Job:
        """One job for several of a session: the same ones, in the same order, are always the same batch."""
        first, last = parts[0], parts[-1]
        named = hashlib.blake2b("".join(f"{part.id}.{part._which} " for part in parts).encode(), digest_size=16)
        return cls(
            session=first.session,
            partition=first.partition,
            event_id=f"batch_{named.hexdigest()}",
            subject=last.subject,
            sequence=last.sequence,
            payload=b"",
            queued=min(part.queued for part in parts),
            run=max(part.run for part in parts),
            trigger=first.trigger,
            parts=tuple(parts),
        )

    @classmethod
    def again(
        cls,
        session: str,
        payload: bytes,
        subject: str,
        sequence: int,
        *,
        unique: str,
        run: int = 1,
        trigger: Trigger = "redrive",
        partitions: int = PARTITIONS,
        letters: tuple[int, ...] = (),
    ) -> Publish:
        """What to store so that an event is delivered to a session once more, under the `webhook-id` it had.

        `subject` is the event's own (`orders.1.placed`), `sequence` its place. The same `unique` twice is one
        delivery, inside the ten minutes that JetStream remembers; another one is another delivery. `run` is how often this
        delivery has now been asked for again; `letters` are its places in DEADLETTERS, removed once it is over. Raises
        BadEvent where the bytes are no event.
        """
        job = cls(
            session=session,
            partition=partition_of(session, partitions),
            event_id=unpack(payload).id,
            subject=subject,
            sequence=sequence,
            payload=payload,
            queued=wall.now_ns(),
            run=run,
            chain=hashlib.blake2b(unique.encode(), digest_size=8).hexdigest(),
            trigger=trigger,
            letters=letters,
        )
        return Publish(job.address, payload, {**job.headers(), "Nats-Msg-Id": f"again.{job.id}.{job.chain}"})

    @property
    def id(self) -> str:
        return delivery_id(self.event_id, self.sequence, self.session)

    @property
    def stored(self) -> int:
        """The sequence of its event in the event's shard."""
        return sequence_of(self.sequence)

    @property
    def deadletter_id(self) -> str:
        """The id of its dead letter."""
        return f"dead.{self.id}.{self.run}{self.chain and '.' + self.chain}"

    @property
    def address(self) -> str:
        """The subject of the job until its first attempt."""
        return f"{FRESH}.{self.partition}.{self.session}"

    @property
    def schedule(self) -> str:
        """The subject under which a retry waits for its time.

        Its session is in the subject, so that what waits for it can be counted. Each attempt has a subject of its own: a
        schedule that fires removes all that is under its subject, and a server that was killed fires again what it had
        fired, which would take the next attempt with it.
        """
        return f"{SCHEDULED}.{self.session}.{self.id}-{self._which}-{self.attempt}-{self.parks}"

    @property
    def body(self) -> bytes:
        """The payload in the stream: the event's bytes, or all of a batch."""
        if not self.parts:
            return self.payload
        return _encode([(part._state(), part.payload) for part in self.parts])

    def parked(self, queue: str, order: int = 0) -> Publish:
        """What to store so that the job waits in its queue's log. How often it has been parked is in the id.

        A worker that dies between this and its acknowledgement repeats it, and JetStream drops the repeat; when the job
        is parked another time, that is another message.
        """
        job = replace(self, parks=self.parks + 1, order=order or self.order)
        name = f"park.{self.id}.{self._which}.{job.attempt}.{job.parks}"
        return Publish(
            f"{PARKED}.{self.partition}.{self.session}.{queue}", self.body, {"Nats-Msg-Id": name, **job._state()}
        )

    def headers(self) -> dict[str, str]:
        """The job as headers beside the event's bytes. The id makes a repeat of the fan-out harmless.

        Of a delivery that is asked for the first time the rest is known: its event is in the id, and it was queued when it
        was stored. Each header costs as much as anything else about a job.
        """
        id = f"{self.event_id}@{self.sequence}:{self.session}"
        if self.attempt == 1 and not (self.parks or self.run or self.chain or self.parts):
            return {"Nats-Msg-Id": id, "X-Subject": self.subject, "X-Sequence": str(self.sequence)}
        return {"Nats-Msg-Id": id, **self._state()}

    def due(self, at_ns: int) -> dict[str, str]:
        """The headers of a schedule that brings the job back at a time (ADR-51).

        The attempt is in the id: a worker that dies between this and its acknowledgement repeats it, and JetStream drops
        the repeat.
        """
        return {
            "Nats-Msg-Id": f"{self.id}.{self._which}.{self.attempt}.{self.parks}",
            "Nats-Schedule": f"@at {rfc3339(at_ns)}",
            "Nats-Schedule-Target": f"{DUE}.{self.partition}.{self.session}",
            **self._state(),
            "X-Due": str(at_ns),
        }

    def next_attempt(self, status: int) -> Job:
        return replace(self, attempt=self.attempt + 1, parks=0, last_status=status)

    @property
    def _which(self) -> str:
        """Which of the times that this delivery was asked for."""
        return f"{self.run}{self.chain and '-' + self.chain}"

    def _state(self) -> dict[str, str]:
        state = {
            "X-Event": self.event_id,
            "X-Subject": self.subject,
            "X-Sequence": str(self.sequence),
            "X-Queued": str(self.queued),
            "X-Attempt": str(self.attempt),
        }
        # Of most attempts there is no more to say.
        if self.parks:
            state["X-Parks"] = str(self.parks)
        if self.run:
            state["X-Run"] = str(self.run)
        if self.last_status:
            state["X-Last-Status"] = str(self.last_status)
        if self.chain:
            state["X-Chain"], state["X-Trigger"] = self.chain, self.trigger
        if self.order:
            state["X-Order"] = str(self.order)
        if self.parts:
            state["X-Batch"] = str(len(self.parts))
        if self.tried:
            state["X-Tried"] = str(self.tried)
        if self.letters:
            state["X-Letters"] = ",".join(map(str, self.letters))
        return state


def read(message: Message) -> Job | None:
    """Reads a job from HOOKS or RETRIES; None for a message that is none."""
    tokens = message.subject.split(".")
    try:
        return _job(tokens[3], int(tokens[2]), message.headers, message.payload, message.time)
    except (LookupError, *DECODE_FAULTS):
        return None


def _job(session: str, partition: int, headers: Mapping[str, str], payload: bytes, stored: int) -> Job:
    if "X-Event" not in headers:
        sequence = headers["X-Sequence"]
        # A job of an earlier version has no sequence in its id.
        event_id = headers["Nats-Msg-Id"].removesuffix(f":{session}").removesuffix(f"@{sequence}")
        return Job(session, partition, event_id, headers["X-Subject"], int(sequence), payload, stored)
    known = headers.get
    run = int(known("X-Run", "0"))
    batch = "X-Batch" in headers
    return Job(
        session,
        partition,
        headers["X-Event"],
        headers["X-Subject"],
        int(headers["X-Sequence"]),
        b"" if batch else payload,
        int(headers["X-Queued"]),
        int(known("X-Attempt", "1")),
        int(known("X-Parks", "0")),
        run,
        int(known("X-Last-Status", "0")),
        known("X-Chain", ""),
        _TRIGGERS.get(known("X-Trigger", ""), "redrive" if run else "auto"),
        int(known("X-Due", "0")),
        int(known("X-Order", "0")),
        tuple(_job(session, partition, state, bytes, stored) for state, bytes in _decode(payload)) if batch else (),
        int(known("X-Tried", "0")),
        tuple(int(text) for text in known("X-Letters", "").split(",") if text),
    )


def fresh_filter(partition: int) -> tuple[str, str, str]:
    """Stream, consumer and subjects of a partition's new jobs."""
    return HOOKS, f"hook-{partition}", f"{FRESH}.{partition}.*"


def due_filter(partition: int) -> tuple[str, str, str]:
    """Stream, consumer and subjects of a partition's retries that are due."""
    return RETRIES, f"due-{partition}", f"{DUE}.{partition}.*"


def origin_of(job: Job) -> Origin:
    """Where the event of a job is stored, for its dead letter."""
    place = locate(job.sequence)
    return Origin(place.stream, place.sequence, place.shard.stored(job.subject))
