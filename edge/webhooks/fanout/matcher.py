"""Matches one event with the joined sessions and makes their jobs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from edge.filters.evaluation import Filtering
from edge.metrics import record_faults
from edge.stats import Stats
from edge.webhooks.fanout.admission import FanoutAdmission
from edge.webhooks.fanout.members import Member, MemberJob, Members
from edge.webhooks.queue.job import ABOUT_ENDPOINTS, Job
from router.clock import wall
from router.event import Event
from router.event_place import place_in
from router.record import Record

log = logging.getLogger(__name__)


class Matcher:
    """Makes jobs of records, for the sessions that show them."""

    def __init__(
        self,
        members: Members,
        filtering: Filtering,
        admission: FanoutAdmission,
        stats: Callable[[str], Stats],
        undecodable: Callable[[Record], None],
    ) -> None:
        """`undecodable` is called with each record that is no event, or that the fan-out failed at."""
        self._members = members
        self._filtering = filtering
        self._admission = admission
        self._stats = stats
        self._undecodable = undecodable

    def match(self, record: Record, jobs: list[MemberJob]) -> int:
        """Adds the jobs of one event, and gives the number of sessions that were asked."""
        event = record.event
        if event is None:
            self._undecodable(record)
            return 0
        match = self._members.joined.find(record.subject, event.type, event.partial)
        seen = self._filtering.prepare(record, event, match.wanted) if match.wanted.any else None
        for member in match.keys:
            if member.leaving is not None or record.sequence <= member.after:
                continue
            verdict = seen is None or self._filtering.look(member.session.view, seen)
            if verdict is None:
                # Its filter is over its principal's budget: it is backfilled on its own.
                self._filtering.warn(member.session.view)
                self._stats(member.session.id).slowed += 1
                member.slow = True
                self._members.leave(member, record.sequence - 1, "filter")
            elif verdict and (job := self._job(member, record, event)) is not None:
                if reason := self._admission.take(member.session, job):
                    self._members.leave(member, record.sequence - 1, reason)
                else:
                    jobs.append((member, job))
        return len(match.keys)

    def jobs(self, member: Member, records: Iterable[Record]) -> list[Job]:
        """The jobs of one session, for those records that it shows and that come behind its place."""
        jobs: list[Job] = []
        for record in records:
            try:
                event = record.event
                if record.sequence > member.after and event is not None:
                    job = self._job(member, record, event)
                    if job is not None:
                        jobs.append(job)
            except Exception as fault:  # noqa: BLE001 - logged with its traceback by `failed`
                self.failed(record, fault)
        return jobs

    def failed(self, record: Record, fault: Exception) -> None:
        """Skips a record at which the fan-out failed, and makes a dead letter of it."""
        log.error(
            "the fan-out failed at an event; it is skipped and becomes a dead letter",
            extra={"sequence": record.sequence},
            exc_info=fault,
        )
        record_faults.labels("fanout").inc()
        record.fault = repr(fault)
        self._undecodable(record)

    def _job(self, member: Member, record: Record, event: Event) -> Job | None:
        """The job that delivers an event to a session that shows it; None for one about the session's own endpoint."""
        session_id = member.session.id
        if record.subject.startswith(ABOUT_ENDPOINTS) and event.data.get("session_id") == session_id:
            return None  # an endpoint that cannot be reached cannot be told so by a post to it
        return Job(
            session=session_id,
            partition=member.partition,
            event_id=event.id,
            subject=record.subject,
            sequence=place_in(record.shard, record.sequence),
            payload=record.payload,
            queued=wall.now_ns(),
        )
