"""A purge deletes, or counts, what its filter selects, and tells how far it came where that was much."""

from __future__ import annotations

from edge.deadletters.purge import Purge
from edge.deadletters.query import READS, DeadLetterFilter, Search, Span
from router.deadletter import webhook_subject
from tests.edge.deadletters.redriving import Process, bury, letters


async def test_an_address_is_purged_without_reading_and_a_text_by_reading(process: Process) -> None:
    await bury(process.dead, webhook_subject("s1"), 3, reason="gone")
    await bury(process.dead, webhook_subject("s1"), 2, detail="the needle")
    await bury(process.dead, webhook_subject("s2"), 1)
    search = Search(process.dead)
    purge = Purge(search)
    address, text = DeadLetterFilter(name="s1", reason="gone"), DeadLetterFilter(text="needle")
    span = await search.span(DeadLetterFilter())

    assert await purge.run(address, span, dry_run=True) == (3, span.upto)
    assert await purge.run(text, span, dry_run=True) == (2, span.upto)
    assert len(await letters(process)) == 6
    assert await purge.run(address, span, dry_run=False) == (3, span.upto)
    assert await purge.run(text, span, dry_run=False) == (2, span.upto)
    assert [letter.name for letter in await letters(process)] == ["s2"]


async def test_what_lies_beyond_the_span_stays(process: Process) -> None:
    await bury(process.dead, webhook_subject("s1"), 2)
    purge = Purge(Search(process.dead))

    assert await purge.run(DeadLetterFilter(name="s1"), Span(0, 1), dry_run=False) == (1, 1)
    assert await purge.run(DeadLetterFilter(subject="job.>"), Span(1, 1), dry_run=False) == (0, 1)
    assert len(await letters(process)) == 1


async def test_one_run_reads_a_bounded_number_of_times_and_says_where_to_go_on(process: Process) -> None:
    class OneAtATime(Search):
        async def stretch(self, chosen, span, limit=1):  # type: ignore[no-untyped-def]
            return await super().stretch(chosen, span, 1)

    await bury(process.dead, webhook_subject("s1"), READS + 2)
    purge = Purge(OneAtATime(process.dead))
    chosen = DeadLetterFilter(subject="job.>")

    first = await purge.run(chosen, Span(0, READS + 2), dry_run=False)
    second = await purge.run(chosen, Span(first[1], READS + 2), dry_run=False)

    assert (first, second) == ((READS, READS), (2, READS + 2))
    assert await letters(process) == []
