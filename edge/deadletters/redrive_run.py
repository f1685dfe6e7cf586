"""Works one redrive: reads the dead letters that it means, sends them at its rate, removes them, and notes how far it came.

A dead letter is sent under an id of its job and its own (`rd.<job>.<sequence>`), the acknowledgement is awaited, and only
then is the dead letter removed. So one that a crash left between the two is sent under the same id again, which JetStream
drops inside its dedup window, and by which an actor knows what it answered before.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, deque
from typing import Any

from edge import metrics
from edge.deadletters.query import Search, Span
from edge.deadletters.redrive_job import MAX_BLOCKED, RedriveJob
from edge.deadletters.redrive_send import BLOCKED, DeadLetterSender, Destinations, Redriven
from edge.jobs import Cancelled, JobFailed, JobRun, Jobs
from router.clock import wall
from router.deadletter import DeadLetter
from router.errors import BrokerError
from router.rates import EvenPace

log = logging.getLogger(__name__)


class RedriveRun(JobRun[RedriveJob]):
    """The work on one redrive."""

    loop = "redrive"
    # A dead letter that was sent is removed first.
    ends_while_waiting = False

    def __init__(
        self,
        destinations: Destinations,
        search: Search,
        jobs: Jobs[RedriveJob, Any],
        job: RedriveJob,
        revision: int,
    ) -> None:
        super().__init__(jobs, job, revision)
        self._dead = destinations.dead
        self._search = search
        self._settings = destinations.settings
        self._sender = DeadLetterSender(destinations, self)
        # Sent and not yet removed, how many were dealt with since the last note, and how far that reaches.
        self._gone: list[int] = []
        self._unsettled = 0
        self._reached = 0
        self._pace = EvenPace(job.rate, asyncio.get_running_loop().time())
        # The dead letters sent last, by session or actor and event, and whether each came back.
        self._last: deque[tuple[str, str, str]] = deque(maxlen=self._settings.window)
        self._back: Counter[tuple[str, str, str]] = Counter()

    def added(self, letter: DeadLetter) -> None:
        """Counts a new dead letter that was sent here a moment ago, and so came back."""
        key = _identity(letter)
        # An actor's answer has counted it already.
        if letter.kind != "actor" and letter.sequence > self.job.upto and key in self._last:
            self.job.returned += 1
            self._back[key] += 1

    async def run(self) -> None:
        """Sends all that there is to be sent. Raises Cancelled, JobFailed or BrokerError."""
        await self._prepare()
        await self._send_all()

    async def interrupted(self) -> None:
        """Removes what was sent, so that the successor need not find out."""
        with contextlib.suppress(BrokerError, TimeoutError):
            async with asyncio.timeout(1):
                await self._settle()

    def ended(self) -> None:
        """Counts a job that is over."""
        metrics.redrives.labels(self.job.state).inc()

    # Counting first

    async def _prepare(self) -> None:
        """Counts what there is to be sent; after a crash, what of it is gone without having been noted as sent."""
        job = self.job
        if job.matched is None:
            job.started = wall.now_ns()
            job.matched = await self._count(Span(job.after, job.upto))
            await self.note()
        elif not job.dry_run:
            left = await self._count(Span(job.after, job.upto))
            job.sent = max(job.sent, job.matched - job.failed - job.skipped - left)

    async def _count(self, span: Span) -> int:
        if self.job.letter is not None:
            return int(await self.retry(self._dead.get, self.job.letter) is not None)
        search = self._search
        if self.job.filter.is_address:
            counted: int = await self.retry(search.count, self.job.filter, span)
            return counted
        found = 0
        while span.after < span.upto:
            self.check()
            letters, reached = await self.retry(search.stretch, self.job.filter, span)
            found += len(letters)
            span = Span(reached, span.upto)
        return found

    # Sending

    @property
    def _wants_more(self) -> bool:
        return self.job.limit is None or self.job.sent < self.job.limit

    async def _send_all(self) -> None:
        job = self.job
        while job.after < job.upto and self._wants_more:
            self.check()
            letters, reached = await self._next()
            try:
                for letter in letters:
                    if not self._wants_more:
                        break
                    await self._wait_for_turn()
                    result = await self._try_to_send(letter)
                    self._count_result(letter, result)
                    self._check_returned(letter, result)
                    await self._settle_now_and_then()
            except (Cancelled, JobFailed):
                await self._settle()
                raise
            if self._wants_more:
                job.after = max(job.after, reached)
            await self._settle()

    async def _next(self) -> tuple[list[DeadLetter], int]:
        job = self.job
        if job.letter is not None:
            letter = await self.retry(self._dead.get, job.letter)
            return ([letter] if letter else []), job.upto
        found: tuple[list[DeadLetter], int] = await self.retry(
            self._search.stretch, job.filter, Span(job.after, job.upto)
        )
        return found

    def _count_result(self, letter: DeadLetter, result: Redriven) -> None:
        job = self.job
        self._reached = letter.sequence
        self._unsettled += 1
        match result.kind:
            case "sent":
                job.sent += 1
                self._gone.append(letter.sequence)
            case "failed":
                job.failed += 1
            case _:
                job.skipped += 1
        if result.reason:
            job.reasons[result.reason] = job.reasons.get(result.reason, 0) + 1
        if result.reason in BLOCKED and letter.kind == "webhook" and len(job.blocked) < MAX_BLOCKED:
            job.blocked[letter.name] = result.reason
        if not job.dry_run:
            metrics.redriven.labels(result.kind).inc()

    async def _settle(self) -> None:
        """Removes the dead letters that were sent, and notes how far the job has come, in this order."""
        gone, self._gone = self._gone, []
        if not self.job.dry_run:
            await asyncio.gather(*(self.retry(self._dead.remove, sequence) for sequence in gone))
        self.job.after = max(self.job.after, self._reached)
        self._unsettled = 0
        await self.note()

    async def _settle_now_and_then(self) -> None:
        waited = asyncio.get_running_loop().time() - self.noted
        if self._unsettled >= self._settings.chunk or waited >= self._settings.note_every:
            await self._settle()

    def _check_returned(self, letter: DeadLetter, result: Redriven) -> None:
        """Remembers what was sent last, and fails the job where too much of it comes back."""
        if result.kind == "skipped" or self.job.dry_run:
            return
        key = _identity(letter)
        if len(self._last) == self._last.maxlen:
            self._back.pop(self._last[0], None)
        self._last.append(key)
        if result.kind == "failed":
            self._back[key] += 1
        if sum(1 for each in self._last if self._back[each]) > self._settings.max_returned:
            limit, window = self._settings.max_returned, self._settings.window
            raise JobFailed(f"more than {limit} of the last {window} came back as dead letters")

    async def _wait_for_turn(self) -> None:
        loop = asyncio.get_running_loop()
        await self.pause(self._pace.wait(loop.time()))
        self._pace.take(loop.time())

    async def _try_to_send(self, letter: DeadLetter) -> Redriven:
        """Sends a dead letter; one at which that fails stays where it is, and the next follows."""
        try:
            return await self._sender.send(letter)
        except (BrokerError, Cancelled):
            raise
        except Exception:
            log.exception(
                "the redrive failed at a dead letter; it stays where it is", extra={"letter": letter.sequence}
            )
            metrics.record_faults.labels("redrive").inc()
            return Redriven("skipped", "fault")


def _identity(letter: DeadLetter) -> tuple[str, str, str]:
    return letter.kind, letter.name, letter.event_id
