"""Stores the jobs of endpoints that cannot take them: a backlog for each queue, read in order.

Parked jobs are in HOOKS under `hook.park.<partition>.<session>.<queue>`, which no consumer reads. The partition's owner reads
a queue's backlog page by page, and deletes each message once its job is settled: no consumer is made for an endpoint, and
parked jobs take up none of the credit that deliveries have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from edge.webhooks.queue.job import PARKED, Job, read
from router.broker import Broker
from router.errors import BrokerError, Refused, Timeout
from router.nats.consumer import Message
from router.nats.error_codes import ErrorCode
from router.nats.headers import Reply, all_headers
from router.nats.publisher import Publish, Publisher, is_too_large
from router.nats.stream import Ack
from router.topology import HOOKS

# 32 jobs or 256 KiB are fetched at once: some tenths of a second of an endpoint's work.
PAGE_JOBS = 32
PAGE_BYTES = 256 * 1024


class ParkedJob(NamedTuple):
    """One parked job, and its place in HOOKS. The job is None where the message is none."""

    sequence: int
    subject: str
    job: Job | None
    payload: bytes


class Backlog:
    """Parks jobs and gets them back."""

    def __init__(self, broker: Broker, publisher: Publisher) -> None:
        self._broker = broker
        self._publisher = publisher
        # The question under way whether HOOKS holds anything.
        self._asking: asyncio.Future[bool] | None = None

    async def put(self, publishes: Sequence[Publish], in_order: bool) -> list[Ack | BrokerError]:
        """Parks jobs with one round trip for all of them; says of each that it is stored, or why not.

        Where there is an order to keep, what is stored after one that was not is removed again; parked the next time, it needs
        another id.
        """
        results = await self._publisher.send(publishes)
        if not in_order:
            return results
        failed = next(
            (n for n, result in enumerate(results) if isinstance(result, BrokerError) and not is_verdict(result)),
            len(results),
        )
        for result in results[failed:]:
            if isinstance(result, Ack):
                await self._broker.connection.up.wait()
                await self.remove(result.sequence)
        return results

    async def page(
        self, partition: int, session: str, queue: str, after: int, jobs: int = PAGE_JOBS
    ) -> tuple[list[ParkedJob], int]:
        """Reads a queue's parked jobs that come after a place, oldest first, and counts those behind them. Raises BrokerError.

        In a cluster a page may come from a node that is behind: it lacks the end, and has what was removed. So the leader
        is asked where the page begins; of an ordered queue, whose jobs go in order, the rest then is right, too.
        """
        subject = f"{PARKED}.{partition}.{session}.{queue}"
        first = await next_job(self._broker, subject, after)
        if not first:
            return [], 0
        request = {"seq": after + 1, "batch": jobs, "max_bytes": PAGE_BYTES, "next_by_subj": subject}
        run = await self._broker.stream(HOOKS).read_run(request, _whole)
        page = [parked for reply in run.messages if (parked := _parked(reply)).sequence >= first]
        if not page or page[0].sequence != first:
            raise Timeout("the server that answered for the parked jobs is behind")
        return page, run.left

    async def remove(self, sequence: int) -> None:
        """Takes a settled job away; harmless where it is gone. Raises BrokerError."""
        await self._broker.stream(HOOKS).delete(sequence)

    async def counts(self, partition: int, session: str = "*") -> dict[tuple[str, str], int]:
        """How many jobs each queue has parked, by session and queue. Raises BrokerError."""
        listing = await self._broker.stream(HOOKS).subjects(f"{PARKED}.{partition}.{session}.*")
        found: dict[tuple[str, str], int] = {}
        for subject, count in listing.subjects.items():
            tokens = subject.split(".")
            found[tokens[3], tokens[4]] = count
        return found

    async def holds_any(self) -> bool:
        """Whether HOOKS holds anything, as of now or a moment ago: partitions that ask at the same time ask once. Raises BrokerError."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(self._ask_for_any())
        return await asyncio.shield(self._asking)

    async def _ask_for_any(self) -> bool:
        return bool((await self._broker.stream(HOOKS).state())["messages"])


async def next_job(broker: Broker, subject: str, after: int) -> int:
    """The place of the next job under a subject, as the leader of HOOKS knows it; 0 for none. Raises BrokerError."""
    message = await broker.stream(HOOKS).get_next(subject, after)
    return message.sequence if message is not None else 0


def is_verdict(result: Ack | BrokerError) -> bool:
    """Whether a job can never be parked: there is no room for it, or it is too large."""
    return is_full(result) or is_too_large(result)


def is_full(result: Ack | BrokerError) -> bool:
    """Whether a backlog has no room for a job."""
    return (
        isinstance(result, Refused)
        and result.err_code == ErrorCode.STREAM_STORE_FAILED
        and "per subject" in result.description
    )


def _whole(reply: Reply) -> Reply:
    return reply


def _parked(reply: Reply) -> ParkedJob:
    headers = all_headers(reply.headers)
    sequence, subject = int(headers["Nats-Sequence"]), headers["Nats-Subject"]
    message = Message(subject, reply.payload, headers, sequence, 1, 0, 0, "", None)  # type: ignore[arg-type]
    return ParkedJob(sequence, subject, read(message), reply.payload)
