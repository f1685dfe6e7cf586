"""Puts deliveries among the jobs once more, and finds the events and the dead letters that they are about."""

from __future__ import annotations

from edge.filters.evaluation import Filtering
from edge.sessions.registry import Registry, Session
from edge.webhooks.history.attempt import Part
from edge.webhooks.queue.event_record import event_record
from edge.webhooks.queue.job import ABOUT_ENDPOINTS, Job
from edge.webhooks.queue.redriven import RedrivenDeadLetters
from edge.webhooks.queue.room import Room
from router.broker import Broker
from router.event_place import locate, place_in, sequence_of
from router.layout import FIRST, original_subject
from router.nats.headers import header
from router.record import Record
from router.replay import Replay


class Redelivery:
    """Stores jobs for events that were delivered, or were to be, before."""

    def __init__(self, broker: Broker, registry: Registry, partitions: int, filtering: Filtering | None = None) -> None:
        self.registry = registry
        self.sent_again = RedrivenDeadLetters(broker)
        # What is delivered again counts as any other job of its session, and waits for its share of HOOKS.
        self.room = Room(broker)
        self.replay = Replay(broker)
        self._broker = broker
        self._partitions = partitions
        self._filtering = filtering or Filtering()
        # What was read before may be of another life of the stream.
        broker.connection.on_reconnect(self.replay.forget)

    async def record(self, part: Part, session: Session) -> Record | None:
        """The event that a delivery is about; None where it is no longer kept, or no longer granted. Raises BrokerError."""
        place = locate(part.sequence)
        shard = self._broker.layout.by_stream.get(place.stream)
        if shard is None:
            return None
        reply = await self._broker.stream(place.stream).read_one({"seq": place.sequence})
        if reply is None:
            return None
        stored = header(reply.headers, b"Nats-Subject") or ""
        epoch = None if self._broker.layout is FIRST else (await self._broker.shard(shard).state()).epoch
        record = event_record(part.sequence, original_subject(stored), reply.payload, epoch)
        if record.event is None or record.event.id != part.event:
            return None
        # A session that was narrowed by hand is sent again what it was sent; one from which a grant was taken is not.
        event = record.event
        if session.spec.granted is not None and not session.view.admits(record.subject, event.type, event.partial):
            return None
        return record

    async def enqueue(self, session: str, record: Record, unique: str, letters: tuple[int, ...] = ()) -> None:
        """Puts a delivery among the jobs once more; its dead letters go once it is over.

        Raises Refused where there is no room, or BrokerError.
        """
        publish = Job.again(
            session,
            record.payload,
            record.subject,
            place_in(record.shard, record.sequence),
            unique=f"{unique}.{place_in(record.shard, record.sequence)}",
            trigger="manual",
            partitions=self._partitions,
            letters=letters,
        )
        await self._broker.store(*publish)

    async def stretch(self, session: Session, after: int, upto: int) -> tuple[list[Record], int]:
        """Events that a session shows behind a place, up to another of the same shard, and how far that reaches. Raises BrokerError."""
        shard = self._broker.layout.by_stream.get(locate(after).stream)
        if shard is None:
            # All in it was too old.
            return [], upto
        behind, bound = sequence_of(after), sequence_of(upto)
        stretch = await self.replay.of_shard(shard, session.view.patterns, behind, bound)
        shown = [
            record
            for record in await self._filtering.select(session.view, stretch.records)
            if behind < record.sequence <= bound and not _is_own_news(record, session.id)
        ]
        return shown, place_in(shard, min(stretch.upto, bound))


def _is_own_news(record: Record, session: str) -> bool:
    """Whether an event tells of this very endpoint, which is never told so."""
    event = record.event
    return record.subject.startswith(ABOUT_ENDPOINTS) and event is not None and event.data.get("session_id") == session
